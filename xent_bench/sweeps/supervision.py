"""The supervision of a sweep's runs on one machine, by a parent that trains nothing.

Whatever ends one of them, a signal, the kernel or a sys.exit in a user's code, the others go on.
"""

import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from omegaconf import DictConfig

from xent_bench.exit_codes import Exit
from xent_bench.failures import DataError, Unavailable
from xent_bench.process.signals import Notice
from xent_bench.runs.begun import UNTOLD, keep_reason, load_begun
from xent_bench.runs.files import LOG, has_result, is_pending
from xent_bench.runs.outcome import outcome
from xent_bench.runs.sweep_record import Planned
from xent_bench.sweeps.child import Failure, send_in_child, train_in_child
from xent_bench.sweeps.fork_server import fork
from xent_bench.sweeps.lines import Tally, say
from xent_bench.sweeps.live import ShownRun, live_display
from xent_bench.tables import n_runs

SERVER_GONE = 255  # multiprocessing's exit code for a process whose end nobody has seen
SEND_SECONDS = 20.0  # to send to MLflow what a killed run left; else xent-sync does it later
TICK = 0.25  # seconds until a signal is acted on, and between two updates of the display


@dataclass
class QueuedRun:
    """A run that is to be trained, or trained again."""

    run: Planned
    config: DictConfig
    retries: int
    tries: int = 0
    not_before: float = 0.0  # by time.monotonic()


@dataclass
class Worker:
    """A process that trains a run, in one of the slots."""

    queued: QueuedRun
    slot: int
    process: BaseProcess
    outcome: Connection
    had_result: bool
    start: float


class Supervision:
    """Trains as many runs at a time as there are slots, and reports how each ended."""

    def __init__(self, queue: list[QueuedRun], gpus: list[str | None], tally: Tally) -> None:
        """`gpus`: CUDA_VISIBLE_DEVICES of each slot, None to leave it as it is."""
        self.waiting, self.gpus, self.tally = list(queue), gpus, tally
        self.folder = queue[0].run.folder.parent
        self.workers: list[Worker] = []
        self.ending = False
        self.notice = Notice()

    def train_all(self) -> None:
        """Train the runs. A signal raises KeyboardInterrupt or Preempted once they are saved."""
        with self.notice as notice, live_display() as show:
            notice.listen()
            try:
                while self.workers or (self.waiting and notice.signum is None):
                    if notice.signum is None:
                        self._fill()
                    elif not self.ending:
                        self._tell_to_end()
                    self._await()
                    for worker in self.workers:
                        self.tally.introduce(worker.queued.run.folder)
                    show(self._shown(), len(self.waiting), self.tally)
                if notice.signum is not None:
                    self.tally.say_sum(self.folder, unfinished=len(self.waiting))
            finally:  # Ctrl-C twice, or a bug
                self._kill()

    def _fill(self) -> None:
        taken = {worker.slot for worker in self.workers}
        free = [slot for slot in range(len(self.gpus)) if slot not in taken]
        now = time.monotonic()
        ready = [queued for queued in self.waiting if queued.not_before <= now]
        for slot, queued in zip(free, ready, strict=False):
            self.waiting.remove(queued)
            self._start(queued, slot)

    def _start(self, queued: QueuedRun, slot: int) -> None:
        run = queued.run
        had_result = has_result(run.folder)
        queued.tries += 1
        try:
            process, outcome = fork(
                train_in_child, queued.config, run.command, run.folder, self.gpus[slot]
            )
        except Unavailable as error:
            self._end_in_failure(queued, Failure(str(error), Exit.UNAVAILABLE, again=True))
            return
        self.workers.append(Worker(queued, slot, process, outcome, had_result, time.time()))

    def _await(self) -> None:
        ended = wait([worker.process.sentinel for worker in self.workers], TICK)
        for worker in [worker for worker in self.workers if worker.process.sentinel in ended]:
            worker.process.join()
            self.workers.remove(worker)
            failure = _end_of(worker)
            worker.outcome.close()
            worker.process.close()
            # a signal may come when all is written
            if failure is None or (failure.again and worker.queued.run.is_done()):
                self._end_as_asked(worker)
            else:
                self._end_in_failure(worker.queued, failure)

    def _end_as_asked(self, ended: Worker) -> None:
        run = ended.queued.run
        try:
            content = outcome(run.folder)
            self.tally.introduce(run.folder)
            self.tally.done(run.name, content, run.calibrator, trained=not ended.had_result)
        except DataError as error:  # deleted or edited a moment ago
            self._end_in_failure(ended.queued, Failure(str(error), Exit.DATA))

    def _end_in_failure(self, queued: QueuedRun, failure: Failure) -> None:
        run = queued.run
        if self.notice.signum is not None and failure.again:
            self.waiting.append(queued)
        elif failure.again and queued.tries <= queued.retries:
            # longer each time: memory or room on a disk is free later, if at all
            pause = 8 ** (queued.tries - 1)
            queued.not_before = time.monotonic() + pause
            self.waiting.insert(0, queued)
            again = f"tried again in {pause} s ({queued.tries} of {queued.retries})"
            self.tally.line(run.name, f"{failure.reason}; {again}")
        else:
            self.tally.failed(run.name, failure.reason, failure.code, kept=run.folder.exists())
            _conclude(queued, failure)

    def _tell_to_end(self) -> None:
        self.ending = True
        n = len(self.workers)
        say(f"Told to end: {n_runs(n)} to be saved first. Ctrl-C twice ends all at once.")
        for worker in self.workers:
            worker.process.terminate()

    def _kill(self) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()

    def _shown(self) -> list[ShownRun]:
        pairs = [(worker, worker.queued.run) for worker in self.workers]
        return [
            ShownRun(run.name, run.folder, worker.start, worker.queued.tries)
            for worker, run in pairs
        ]


def _conclude(queued: QueuedRun, failure: Failure) -> None:
    """Write a failure to the run's folder and to MLflow, if the run's process could not."""
    folder, machine = queued.run.folder, queued.config.machine
    if not is_pending(folder):  # the process has done it, or the run did not begin
        return
    with suppress(OSError, ValueError):
        if load_begun(folder).reason == UNTOLD:
            keep_reason(folder, failure.reason)
    if not machine.offline:
        with suppress(Unavailable):
            process, _ = fork(send_in_child, machine.tracking, folder)
            process.join(SEND_SECONDS)
            process.kill()


def _end_of(ended: Worker) -> Failure | None:
    """The outcome that the process sent, or how it ended without one; an empty log is deleted."""
    log = ended.queued.run.folder / LOG
    if log.exists() and not log.stat().st_size:
        log.unlink()
    with suppress(EOFError, OSError):
        if ended.outcome.poll():
            outcome: Failure | None = ended.outcome.recv()
            return outcome
    code, where = ended.process.exitcode, f"; see {log}" if log.exists() else ""
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
