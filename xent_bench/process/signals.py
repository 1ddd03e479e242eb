"""Being told to end by a signal: noted at once, heeded where nothing is half done."""

import os
import signal
import threading
import time
from multiprocessing import parent_process
from multiprocessing.connection import wait
from types import FrameType, TracebackType
from typing import Self

PREEMPTION_SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)  # schedulers use all three
ENDING_SIGNALS = (signal.SIGINT, *PREEMPTION_SIGNALS)
GRACE = 600.0  # seconds for a step, or a validation, of one that nobody watches
EXIT_PREEMPTED = 75  # EX_TEMPFAIL of sysexits.h: the same again may succeed


class Preempted(BaseException):
    """A signal said to end. What was trained is kept, and the same command goes on with it.

    No Exception, as KeyboardInterrupt is none: whoever goes on after a failure must not after this.
    """

    def __init__(self, signum: int) -> None:
        """Which signal."""
        super().__init__(f"told to end by {signal.Signals(signum).name}")
        self.signum = signum

    def __reduce__(self) -> tuple[type[Self], tuple[int]]:
        """To cross from one process to another."""
        return type(self), (self.signum,)


def raise_on_signal() -> None:
    """From now on a signal raises Preempted wherever the program is, as Ctrl-C does its own.

    Not one that is listened to already, by what puts a scheduler's job back into its queue.
    """
    for each in PREEMPTION_SIGNALS:
        if signal.getsignal(each) == signal.SIG_DFL:  # what a shell's trap ignores stays ignored
            signal.signal(each, _raise)


def _raise(signum: int, _: FrameType | None) -> None:
    raise Preempted(signum)


def end_with_parent(grace: float = GRACE) -> None:
    """When the parent is killed, which tells nobody, this process is told to end, and after so many
    seconds killed.
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
    """Within it a signal ends a run at once until `listen`; from then on it is only noted, as is
    the first Ctrl-C, and the run ends between two steps.

    Whoever listened before hears of it afterwards: main(), or a scheduler's own handler that puts
    the job back into its queue.
    """

    def __init__(self, word: str = "") -> None:
        """Nothing noted. `word`: on the terminal when the first Ctrl-C is."""
        self.signum: int | None = None
        self.word = word.encode()
        self.only_notes = False

    def __enter__(self) -> Self:
        """Listen, unless in a thread, where Python lets nobody."""
        self.before = {}
        if threading.current_thread() is threading.main_thread():
            before = {each: signal.getsignal(each) for each in ENDING_SIGNALS}
            # what is ignored stays so: Ctrl-C in a script's background, or in a run of a sweep,
            # whose parent says what is meant
            self.before = {k: how for k, how in before.items() if how != signal.SIG_IGN}
        for each in self.before:
            signal.signal(each, self._note)
        return self

    def listen(self) -> None:
        """Only note, from now on, what the run will heed; also after a library has listened."""
        self.only_notes = True
        for each in self.before:
            signal.signal(each, self._note)

    def heed(self) -> None:
        """Raise Preempted if told to end."""
        if self.signum is not None:
            raise Preempted(self.signum)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        at_once = not self.only_notes or signum == self.signum == signal.SIGINT  # Ctrl-C twice
        if self.signum is None or self.before[signal.Signals(signum)] is not _raise:
            self.signum = signum  # a scheduler's handler must hear of it, whatever came before
        if at_once:
            raise KeyboardInterrupt if signum == signal.SIGINT else Preempted(signum)
        if signum == signal.SIGINT:
            os.write(2, self.word)  # print() may be what it came into

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Pass it on; a failure of the run's own comes first."""
        for each, handler in self.before.items():
            signal.signal(each, handler)
        if self.signum is None or not (error is None or isinstance(error, Preempted)):
            return
        handler = self.before[signal.Signals(self.signum)]
        if callable(handler):
            handler(self.signum, None)
        if error is None:
            raise Preempted(self.signum)
