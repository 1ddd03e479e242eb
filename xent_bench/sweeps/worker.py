"""A process that trains queued runs in one of the slots, as its parent sees it."""

import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from xent_bench.exit_codes import Exit
from xent_bench.runs.files import LOG, has_result
from xent_bench.sweeps.child import train_in_child
from xent_bench.sweeps.endings import Failure, Message, Refusal
from xent_bench.sweeps.fork_server import fork
from xent_bench.sweeps.group_child import Task, train_group_in_child
from xent_bench.sweeps.live import ShownRun
from xent_bench.sweeps.plan import PlannedRun
from xent_bench.sweeps.queued import Queued
from xent_bench.tables import n_runs

SERVER_GONE = 255  # multiprocessing's exit code for a process whose end nobody has seen


class Worker:
    """A process with the runs that it was given, and what it has told of them."""

    def __init__(self, queued: Queued, slot: int, gpus: str | None) -> None:
        """Fork the process; Unavailable if that cannot be done. `gpus`: see `train_in_child`."""
        self.queued, self.slot = queued, slot
        self.runs = dict(enumerate(queued.runs))  # those that have not ended
        self.had_result = {run.folder: has_result(run.folder) for run, _ in queued.runs}
        self.ended: list[tuple[PlannedRun, Failure | None]] = []  # not yet taken
        self.to_try_again: list[tuple[PlannedRun, Failure]] = []
        self.refusal: str | None = None  # why the runs do not train as one
        self.failure: Failure | None = None  # of the process
        self.speaks = True
        self.process, self.messages = _fork(queued, gpus)
        self.start = time.time()

    def read(self) -> None:
        """Read what the process has told since; returns at once."""
        try:
            while self.speaks and self.messages.poll():
                self._note(self.messages.recv())
        except (EOFError, OSError):
            self.speaks = False

    def join(self) -> None:
        """Wait for the end of the process; if it left runs that have not ended, note why."""
        self.process.join()
        self.read()
        log = self.log
        if self.queued.is_group:
            self._clear(log)
        elif log.exists() and not log.stat().st_size:
            log.unlink()
        if self.runs and self.failure is None:
            self.failure = _failure_by_exit_code(self.process, log)
        self.messages.close()
        self.process.close()

    @property
    def log(self) -> Path:
        """The file that has what the process printed."""
        return self.queued.log if self.queued.is_group else self.queued.runs[0][0].folder / LOG

    @property
    def left(self) -> list[PlannedRun]:
        """The runs that have not ended, or are to be tried again, in the order of the queue."""
        members = [*self.runs.values(), *(member for member, _ in self.to_try_again)]
        folders = {run.folder for run, _ in members}
        return [member for member in self.queued.runs if member[0].folder in folders]

    def take_ended(self) -> list[tuple[PlannedRun, Failure | None]]:
        """The runs that have ended since the last call, each with its failure."""
        ended, self.ended = self.ended, []
        return ended

    def shown(self) -> ShownRun:
        """The runs that have not ended, as one line of the display."""
        runs = [run for run, _ in self.runs.values()] or [self.queued.runs[0][0]]
        name = f"{n_runs(len(runs))} together," if len(runs) > 1 else runs[0].name
        folders = tuple(run.folder for run in runs)
        return ShownRun(name, folders, self.start, self.queued.tries)

    def _note(self, message: Message) -> None:
        if isinstance(message, Refusal):
            self.refusal = message.reason
        elif message.number is None:
            self.failure = message.failure
        else:
            member = self.runs.pop(message.number)
            failure = message.failure
            if failure is not None and failure.again and self.queued.is_group:
                self.to_try_again.append((member, failure))
            else:
                self.ended.append((member, failure))

    def _clear(self, log: Path) -> None:
        """Delete the log of a group if it is empty, or if the group has left nothing else."""
        folders = [run.folder for run, _ in self.queued.runs]
        with suppress(OSError):
            if not log.stat().st_size or not any(folder.exists() for folder in folders):
                log.unlink()
            log.parent.rmdir()


def _fork(queued: Queued, gpus: str | None) -> tuple[BaseProcess, Connection]:
    if queued.is_group:
        tasks = [Task(config, run.command, run.folder) for run, config in queued.runs]
        return fork(train_group_in_child, tasks, queued.log, gpus)
    ((run, config),) = queued.runs
    return fork(train_in_child, config, run.command, run.folder, gpus)


def _failure_by_exit_code(process: BaseProcess, log: Path) -> Failure:
    """The failure of a process that ended without telling why."""
    code, where = process.exitcode, f"; see {log}" if log.exists() else ""
    assert code is not None
    if code == SERVER_GONE:
        return Failure("the process that starts the runs was killed", Exit.UNAVAILABLE, again=True)
    if code >= 0:
        return Failure(
            f"its process left with exit code {code} and no result{where}", Exit.NOT_AS_EXPECTED
        )
    name = signal.Signals(-code).name
    guess = " (out of memory?)" if name == "SIGKILL" else ""
    return Failure(f"killed by {name}{guess}{where}", Exit.UNAVAILABLE, again=True)
