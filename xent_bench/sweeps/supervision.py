"""The runs of a sweep while they train, watched by a parent that trains nothing.

Whatever ends one of them, a signal, the kernel, somebody's sys.exit, the others do not notice.
"""

import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from omegaconf import DictConfig

from xent_bench.failures import Unavailable
from xent_bench.process.signals import Notice
from xent_bench.runs.begun import UNTOLD, keep_reason, load_begun
from xent_bench.runs.files import LOG, RESULT, has_result, is_pending
from xent_bench.runs.result import load_run
from xent_bench.runs.sweep_record import DAMAGED, Planned
from xent_bench.sweeps.child import Failure, send, train
from xent_bench.sweeps.fork_server import fork
from xent_bench.sweeps.lines import Tally, runs, say
from xent_bench.sweeps.live import Shown, view

SERVER_GONE = 255  # multiprocessing's word for a run whose end nobody has seen
PARTING = 20.0  # seconds to send to MLflow what a killed run left; xent-sync does it later
TICK = 0.25  # seconds until a signal is heeded, and between two looks at how far the runs are


@dataclass
class Job:
    """A run that is to be trained."""

    run: Planned
    config: DictConfig
    retries: int
    tries: int = 0
    not_before: float = 0.0


@dataclass
class Running:
    """A run that is being trained."""

    job: Job
    slot: int
    process: BaseProcess
    outcome: Connection
    had_result: bool
    start: float


class Supervision:
    """Starts as many runs at a time as there are slots, and says what became of each."""

    def __init__(self, jobs: list[Job], gpus: list[str | None], tally: Tally) -> None:
        """`gpus`: of each slot."""
        self.waiting, self.gpus, self.tally = list(jobs), gpus, tally
        self.folder = jobs[0].run.folder.parent
        self.running: list[Running] = []
        self.told = False
        self.notice = Notice()

    def train_all(self) -> None:
        """KeyboardInterrupt or Preempted if told to end; what was trained is kept."""
        with self.notice as notice, view() as show:
            notice.listen()
            try:
                while self.running or (self.waiting and notice.signum is None):
                    if notice.signum is None:
                        self._fill()
                    elif not self.told:
                        self._tell_to_end()
                    self._await()
                    show(self._shown(), len(self.waiting), self.tally)
                if notice.signum is not None:
                    self.tally.say_sum(self.folder, unfinished=len(self.waiting))
            finally:  # Ctrl-C twice, or a mistake of ours
                self._kill()

    def _fill(self) -> None:
        taken = {each.slot for each in self.running}
        free = [slot for slot in range(len(self.gpus)) if slot not in taken]
        now = time.monotonic()
        ready = [job for job in self.waiting if job.not_before <= now]
        for slot, job in zip(free, ready, strict=False):
            self.waiting.remove(job)
            self._start(job, slot)

    def _start(self, job: Job, slot: int) -> None:
        had_result = has_result(job.run.folder)
        job.tries += 1
        try:
            process, outcome = fork(
                train, job.config, job.run.command, job.run.folder, self.gpus[slot]
            )
        except Unavailable as error:
            self._end_in_failure(job, Failure(str(error), 4, again=True))
            return
        made = Running(job, slot, process, outcome, had_result, time.time())
        self.running.append(made)

    def _await(self) -> None:
        ended = wait([each.process.sentinel for each in self.running], TICK)
        for each in [each for each in self.running if each.process.sentinel in ended]:
            each.process.join()
            self.running.remove(each)
            failure = _outcome_of(each)
            each.outcome.close()
            each.process.close()
            if failure is None or (failure.again and each.job.run.is_done()):  # told at its end
                self._end_with_result(each)
            else:
                self._end_in_failure(each.job, failure)

    def _end_with_result(self, ended: Running) -> None:
        run = ended.job.run
        try:
            result = load_run(run.folder / RESULT).content()
            self.tally.done(run.name, result, run.calibrator, trained=not ended.had_result)
        except DAMAGED as error:  # deleted, or of an old version
            what = f"cannot read the result in {run.folder}: {error!r}"
            self._end_in_failure(ended.job, Failure(what, 3))

    def _end_in_failure(self, job: Job, failure: Failure) -> None:
        if self.notice.signum is not None and failure.again:
            self.waiting.append(job)
        elif failure.again and job.tries <= job.retries:
            # what has no memory or no room has it later, if at all
            pause = 8 ** (job.tries - 1)
            job.not_before = time.monotonic() + pause
            self.waiting.insert(0, job)
            again = f"tried again in {pause} s ({job.tries} of {job.retries})"
            self.tally.line(job.run.name, f"{failure.reason}; {again}")
        else:
            kept = job.run.folder.exists()
            self.tally.failed(job.run.name, failure.reason, failure.code, kept=kept)
            _conclude(job, failure)

    def _tell_to_end(self) -> None:
        self.told = True
        n = len(self.running)
        say(f"Told to end: {runs(n)} to be saved first. Ctrl-C twice ends all at once.")
        for each in self.running:
            each.process.terminate()

    def _kill(self) -> None:
        for each in self.running:
            each.process.kill()
        for each in self.running:
            each.process.join()

    def _shown(self) -> list[Shown]:
        return [
            Shown(each.job.run.name, each.job.run.folder, each.start, each.job.tries)
            for each in self.running
        ]


def _conclude(job: Job, failure: Failure) -> None:
    """In the folder and in MLflow, for one whose process could not."""
    folder, machine = job.run.folder, job.config.machine
    if not is_pending(folder):  # it has said so itself, or did not begin
        return
    with suppress(OSError, ValueError):
        if load_begun(folder).reason == UNTOLD:
            keep_reason(folder, failure.reason)
    if not machine.offline:
        with suppress(Unavailable):
            process, _ = fork(send, machine.tracking, folder)
            process.join(PARTING)
            process.kill()


def _outcome_of(ended: Running) -> Failure | None:
    """What it has said, or how it ended without a word; an empty log is not kept."""
    log = ended.job.run.folder / LOG
    if log.exists() and not log.stat().st_size:
        log.unlink()
    with suppress(EOFError, OSError):
        if ended.outcome.poll():
            said: Failure | None = ended.outcome.recv()
            return said
    code, where = ended.process.exitcode, f"; see {log}" if log.exists() else ""
    assert code is not None
    if code == SERVER_GONE:
        return Failure("the process that starts the runs was killed", 4, again=True)
    if code >= 0:
        return Failure(f"its process left with exit code {code} and no result{where}", 1)
    name = signal.Signals(-code).name
    guess = " (out of memory?)" if name == "SIGKILL" else ""
    return Failure(f"killed by {name}{guess}{where}", 4, again=True)
