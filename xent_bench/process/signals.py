"""Signals that end a run: noted at once, acted on between two steps, where nothing is half done."""

import os
import signal
import threading
import time
from multiprocessing import parent_process
from multiprocessing.connection import wait
from types import FrameType, TracebackType
from typing import Self

# schedulers send three of them; SIGHUP comes where a terminal or a connection by ssh is closed
PREEMPTION_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP)
ENDING_SIGNALS = (signal.SIGINT, *PREEMPTION_SIGNALS)
GRACE = 600.0  # seconds for a step or a validation, for a process without a parent


class Preempted(BaseException):
    """A signal told the process to end. What was trained is kept; the same command continues it.

    Like KeyboardInterrupt not an Exception: code that goes on after a failure must not after this.
    """

    def __init__(self, signum: int) -> None:
        """`signum`: the number of the signal."""
        super().__init__(f"told to end by {signal.Signals(signum).name}")
        self.signum = signum

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        """Pickle the number of the signal, to send the error to another process."""
        return type(self), (self.signum,)


def raise_on_signal() -> None:
    """Let each preemption signal raise Preempted wherever the program is, as Ctrl-C raises.

    A signal that has a handler already keeps it: it may put a scheduler's job back into its queue.
    """
    for signum in PREEMPTION_SIGNALS:
        if signal.getsignal(signum) == signal.SIG_DFL:  # what a shell's trap ignores stays ignored
            signal.signal(signum, _raise)


def _raise(signum: int, _: FrameType | None) -> None:
    raise Preempted(signum)


def end_with_parent(grace: float = GRACE) -> None:
    """Send this process SIGTERM when its parent has ended, and kill it `grace` seconds later.

    A parent that is killed cannot tell its children. With `grace` 0 it is killed at once.
    """
    threading.Thread(target=_await_parent, args=(grace,), daemon=True).start()


def _await_parent(grace: float) -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    if grace:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
    os.kill(os.getpid(), signal.SIGKILL)  # it hangs, and holds the lock of its run


class Notice:
    """A context in which a signal is noted, for the run to end between two steps.

    Until `listen` is called, a signal ends the run at once. From then on it is only noted, as is
    the first Ctrl-C. When the context ends, the handler of before gets the signal: main()'s, or a
    scheduler's that puts the job back into its queue.
    """

    def __init__(self, message: str = "") -> None:
        """`message`: printed on the terminal at the first Ctrl-C."""
        self.signum: int | None = None
        self.message = message.encode()
        self.only_notes = False

    def __enter__(self) -> Self:
        """Install the handlers, except in a thread: Python allows them in the main thread alone."""
        self.before = {}
        if threading.current_thread() is threading.main_thread():
            before = {signum: signal.getsignal(signum) for signum in ENDING_SIGNALS}
            # what is ignored stays so: Ctrl-C in a script's background, or in a run of a sweep,
            # which its parent tells to end
            self.before = {k: handler for k, handler in before.items() if handler != signal.SIG_IGN}
        for signum in self.before:
            signal.signal(signum, self._note)
        return self

    def listen(self) -> None:
        """Only note signals from now on; also takes them back from a library's handlers."""
        self.only_notes = True
        for signum in self.before:
            signal.signal(signum, self._note)

    def heed(self) -> None:
        """Raise Preempted if a signal was noted."""
        if self.signum is not None:
            raise Preempted(self.signum)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        at_once = not self.only_notes or signum == self.signum == signal.SIGINT  # Ctrl-C twice
        if self.signum is None or self.before[signal.Signals(signum)] is not _raise:
            self.signum = signum  # a scheduler's handler must get its signal, whatever came first
        if at_once:
            raise KeyboardInterrupt if signum == signal.SIGINT else Preempted(signum)
        if signum == signal.SIGINT:
            os.write(2, self.message)  # the signal may have interrupted print()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Restore the handlers and call that of the noted signal, unless the run itself failed."""
        for signum, handler in self.before.items():
            signal.signal(signum, handler)
        if self.signum is None or not (error is None or isinstance(error, Preempted)):
            return
        handler = self.before[signal.Signals(self.signum)]
        if callable(handler):
            handler(self.signum, None)
        if error is None:
            raise Preempted(self.signum)
