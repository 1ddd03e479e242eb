"""The supervision of a sweep's runs on one machine, by a parent that trains nothing.

Whatever ends one of them, a signal, the kernel or a sys.exit in a user's code, the others go on.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import wait

from xent_bench.exit_codes import Exit
from xent_bench.failures import DataError, Unavailable
from xent_bench.process.signals import Notice
from xent_bench.runs.begun import UNTOLD, keep_reason, load_begun
from xent_bench.runs.files import is_pending
from xent_bench.runs.outcome import outcome
from xent_bench.sweeps.child import send_in_child
from xent_bench.sweeps.endings import Failure
from xent_bench.sweeps.fork_server import fork
from xent_bench.sweeps.groups import kind_of
from xent_bench.sweeps.lines import Tally, say
from xent_bench.sweeps.live import live_display
from xent_bench.sweeps.plan import PlannedRun
from xent_bench.sweeps.queued import Queued, next_tries
from xent_bench.sweeps.worker import Worker
from xent_bench.tables import n_runs

SEND_SECONDS = 20.0  # to send to MLflow what a killed run left; else xent-sync does it later
TICK = 0.25  # seconds until a signal is acted on, and between two updates of the display


class Supervision:
    """Trains as many runs, or groups of runs, at a time as there are slots; reports their ends."""

    def __init__(
        self,
        groups: Sequence[list[PlannedRun]],
        gpus: list[str | None],
        tally: Tally,
        alone: dict[str, str],
    ) -> None:
        """Queue the groups; a run that trains alone is a group of one.

        `gpus`: CUDA_VISIBLE_DEVICES of each slot, None to leave it as it is. `alone`: kinds of
        groups that do not train as one, and why; kinds that turn out so are added.
        """
        self.waiting, self.gpus, self.tally = [Queued(runs) for runs in groups], gpus, tally
        self.alone = alone
        self.folder = groups[0][0][0].folder.parent
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
                    shown = [worker.shown() for worker in self.workers]
                    for line in shown:
                        self.tally.introduce(line.folders[0])
                    show(shown, self._runs_waiting(), self.tally)
                if notice.signum is not None:
                    self.tally.say_sum(self.folder, unfinished=self._runs_waiting())
            finally:  # Ctrl-C twice, or a bug
                self._kill()

    def _runs_waiting(self) -> int:
        return sum(len(queued.runs) for queued in self.waiting)

    def _fill(self) -> None:
        taken = {worker.slot for worker in self.workers}
        free = [slot for slot in range(len(self.gpus)) if slot not in taken]
        now = time.monotonic()
        ready = [queued for queued in self.waiting if queued.not_before <= now]
        for slot, queued in zip(free, ready, strict=False):
            self.waiting.remove(queued)
            self._start(queued, slot)

    def _start(self, queued: Queued, slot: int) -> None:
        queued.tries += 1
        try:
            self.workers.append(Worker(queued, slot, self.gpus[slot]))
        except Unavailable as error:
            failure = Failure(str(error), Exit.UNAVAILABLE, again=True)
            self._end_too_soon(queued, queued.runs, failure)

    def _await(self) -> None:
        speaking = {worker.messages: worker for worker in self.workers if worker.speaks}
        sentinels = {worker.process.sentinel: worker for worker in self.workers}
        ready = wait([*speaking, *sentinels], TICK)
        for channel in ready:
            if channel in speaking:
                speaking[channel].read()
        leaving = [worker for sentinel, worker in sentinels.items() if sentinel in ready]
        for worker in leaving:
            worker.join()
            self.workers.remove(worker)
        for worker in [*self.workers, *leaving]:
            for member, failure in worker.take_ended():
                self._end(worker, member, failure)
        for worker in leaving:
            self._end_worker(worker)

    def _end(self, worker: Worker, member: PlannedRun, failure: Failure | None) -> None:
        """Report how a run has ended; one that is alone may be tried again."""
        run, _ = member
        # a signal may come when all is written
        if failure is None or (failure.again and run.is_done()):
            self._end_as_asked(worker, member)
        elif worker.queued.is_group:
            self.tally.failed(run.name, failure.reason, failure.code, kept=run.folder.exists())
        else:
            self._end_too_soon(worker.queued, [member], failure)

    def _end_as_asked(self, worker: Worker, member: PlannedRun) -> None:
        run, _ = member
        try:
            content = outcome(run.folder)
            self.tally.introduce(run.folder)
            trained = not worker.had_result[run.folder]
            self.tally.done(run.name, content, run.calibrator, trained=trained)
        except DataError as error:  # deleted or edited a moment ago
            self.tally.failed(run.name, str(error), Exit.DATA, kept=run.folder.exists())

    def _end_worker(self, worker: Worker) -> None:
        """Queue the runs again that a process has left without an end."""
        left = []
        for member in worker.left:
            if member[0].is_done():
                self._end_as_asked(worker, member)
            else:
                left.append(member)
        if not left:
            return
        if worker.refusal is not None:
            self._train_alone(left, worker.refusal)
            return
        failures = [failure for _, failure in worker.to_try_again]
        self._end_too_soon(worker.queued, left, worker.failure or failures[0])

    def _train_alone(self, left: list[PlannedRun], reason: str) -> None:
        """Queue the runs of a group that does not train as one, each alone; say why, once."""
        if reason not in self.alone.values():
            say(f"Each run trains in a process of its own: {reason}")
        kind = kind_of(left[0][1])
        assert kind is not None
        self.alone[kind] = reason
        waiting = [Queued([member]) for member in left]
        for queued in self.waiting:
            if queued.is_group and kind_of(queued.runs[0][1]) == kind:
                waiting += [Queued([member]) for member in queued.runs]
            else:
                waiting.append(queued)
        self.waiting = waiting

    def _end_too_soon(self, queued: Queued, left: list[PlannedRun], failure: Failure) -> None:
        """Queue runs again whose process has failed, or say that they have failed for good."""
        if self.notice.signum is not None and failure.again:
            self.waiting.append(Queued(left, queued.tries))
        elif queued.is_group:
            again = next_tries(queued, left, failure)
            self.waiting[:0] = again.queue
            self.tally.line(f"{Queued(left).name}:", f"{failure.reason}; {again.words}")
        elif failure.again and queued.tries <= queued.retries:
            pause = queued.delay()
            self.waiting.insert(0, queued)
            again_in = f"tried again in {pause:.0f} s ({queued.tries} of {queued.retries})"
            self.tally.line(queued.name, f"{failure.reason}; {again_in}")
        else:
            run, _ = queued.runs[0]
            self.tally.failed(run.name, failure.reason, failure.code, kept=run.folder.exists())
            _conclude(queued, failure)

    def _tell_to_end(self) -> None:
        self.ending = True
        n = sum(len(worker.runs) for worker in self.workers)
        say(f"Told to end: {n_runs(n)} to be saved first. Ctrl-C twice ends all at once.")
        for worker in self.workers:
            worker.process.terminate()

    def _kill(self) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()


def _conclude(queued: Queued, failure: Failure) -> None:
    """Write a failure to the run's folder and to MLflow, if the run's process could not."""
    run, config = queued.runs[0]
    folder, machine = run.folder, config.machine
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
