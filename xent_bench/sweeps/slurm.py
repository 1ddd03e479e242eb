"""The launcher of a sweep on a cluster: each missing run, or group of runs, is a SLURM job.

A job runs the commands of its runs, and so goes on where an earlier one stopped. SLURM puts a
preempted job back into its queue by itself, submitit puts back one that is out of time. The
launcher only watches how they end; typed again after Ctrl-C, the command watches the same jobs.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias, cast

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from xent_bench.config.explain import refuse
from xent_bench.exit_codes import Exit
from xent_bench.failures import DataError, Unavailable
from xent_bench.process.signals import Preempted
from xent_bench.runs.files import JOB
from xent_bench.runs.lacking import Lack, has_ended, lacking
from xent_bench.runs.outcome import outcome
from xent_bench.runs.refusal import delete_alone
from xent_bench.runs.status import last_job
from xent_bench.runs.sweep_record import Planned
from xent_bench.runs.whole_files import write_whole
from xent_bench.sweeps.groups import grouped, kind_of
from xent_bench.sweeps.launcher import SweepLauncher
from xent_bench.sweeps.lines import Tally, say
from xent_bench.sweeps.live import Show, ShownRun, live_display
from xent_bench.sweeps.plan import PlannedRun
from xent_bench.sweeps.slurm_group import WATCHED
from xent_bench.sweeps.slurm_job import (
    AnyJob,
    GroupJob,
    Job,
    last_words,
    left_alone,
    log_of,
    submit,
)
from xent_bench.sweeps.slurm_queue import PASSING, JobState, job_states, polled_states
from xent_bench.tables import n_runs

Jobs: TypeAlias = dict[str, list[PlannedRun]]  # the runs of each job that have not ended, by its id


class Slurm(SweepLauncher):
    """Submits a job per group of missing runs by the settings of Hydra's submitit plugin."""

    def __init__(self, **settings: Any) -> None:
        """`settings`: those of the plugin's schema."""
        plain = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
        self.settings = cast(dict[str, Any], plain)
        self.folder = Path(self.settings["submitit_folder"])

    def train(self, missing: list[PlannedRun], gpus: int, tally: Tally) -> None:
        """Submit the runs that are in no job, and watch until all have ended."""
        # jobs of an earlier command may have ended since the plan was made
        ended = [run for run, _ in missing if run.is_done()]
        later = [member for member in missing if member[0] not in ended]
        jobs: Jobs = {}
        with self._watching():
            try:
                jobs, later = self._jobs(later) if later else ({}, [])
            except Unavailable as error:
                refuse(error)
            for run in ended:
                _say_end(run, tally)
            try:
                with live_display() as show:
                    later += self._watch(jobs, tally, show)
                    while later:  # no more were taken at a time, or a group did not train as one
                        jobs, later = self._jobs(later)
                        later += self._watch(jobs, tally, show)
            except Unavailable as error:
                tally.say_sum(missing[-1][0].folder.parent, unfinished=len(later))
                refuse(error)
            except (KeyboardInterrupt, Preempted):
                self._say_interrupted(jobs, len(later), missing[-1][0].folder.parent, tally)
                raise

    def _say_interrupted(self, jobs: Jobs, later: int, folder: Path, tally: Tally) -> None:
        tally.say_sum(folder, unfinished=sum(map(len, jobs.values())) + later)
        arrays = sorted({job.partition("_")[0] for job in jobs})
        say(
            f"The jobs go on; typed again, the command watches them. To end them: scancel "
            f"{' '.join(arrays)}"
        )

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """A context in which jobs can see that a command watches them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / WATCHED)
        with suppress(Timeout):  # another window watches them too
            lock.acquire(timeout=0)
        try:
            yield
        finally:
            lock.release()

    def _jobs(self, missing: Sequence[PlannedRun]) -> tuple[Jobs, list[PlannedRun]]:
        """The runs of each job by its id: jobs that wait or run already, and new ones.

        Also lists the runs for which the cluster takes no more jobs now.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):  # the same command in two windows
            states = job_states()
            jobs: Jobs = {}
            new = []
            for member in missing:
                if job := _job_of(member[0], states):
                    jobs.setdefault(job, []).append(member)
                else:
                    new.append(member)
            before = sum(map(len, jobs.values()))
            self._note_refusals(new)
            groups = grouped(new, jobs=1, alone=self.alone)
            later = list(groups)
            try:
                for job in submit([self._job(group) for group in groups], self.settings):
                    group = later.pop(0)
                    for run, _ in group:
                        run.folder.mkdir(parents=True, exist_ok=True)
                        write_whole(run.folder / JOB, job)
                    jobs[job] = group
            except Unavailable:
                if not jobs:
                    raise
        runs_later = [member for group in later for member in group]
        self._say_jobs(groups[: len(groups) - len(later)], before, len(runs_later))
        return jobs, runs_later

    def _job(self, group: Sequence[PlannedRun]) -> AnyJob:
        # a process trains all of a job, whatever machine.jobs was typed for a single machine
        commands = [f"{run.command} machine.jobs=1" for run, _ in group]
        if group[0][1].machine.devices > 1:  # the run's other processes are started as it was typed
            return Job(commands[0])
        return GroupJob(commands, self.folder.absolute())

    def _say_jobs(self, submitted: Sequence[Sequence[PlannedRun]], before: int, later: int) -> None:
        runs = sum(map(len, submitted))
        jobs = "1 job" if len(submitted) == 1 else f"{len(submitted)} jobs"
        in_jobs = f" in {jobs}" if len(submitted) < runs else ""
        counts = [f"{n_runs(runs)} submitted{in_jobs}"] if runs else []
        counts += [f"{n_runs(before)} submitted before"] if before else []
        counts += [f"{n_runs(later)} when these have ended"] if later else []
        say(f"SLURM: {', '.join(counts)}; logs: {self.folder}")

    def _note_refusals(self, new: Sequence[PlannedRun]) -> None:
        """Remember which kinds of groups an earlier job could not train as one."""
        for run, config in new:
            kind, job = kind_of(config), last_job(run.folder)
            if kind and job and kind not in self.alone:
                self._note_refusal(kind, left_alone(log_of(job, self.folder), run.folder))

    def _note_refusal(self, kind: str, reason: str) -> None:
        """Remember that a kind of groups is not trained as one; say each reason once."""
        if reason and reason not in self.alone.values():
            say(f"A job for each run: {reason}")
        if reason:
            self.alone[kind] = reason

    def _watch(self, jobs: Jobs, tally: Tally, show: Show) -> list[PlannedRun]:
        """Watch until the jobs have ended; returns the runs of groups that did not train as one."""
        warned: set[str] = set()
        again: list[PlannedRun] = []
        for states in polled_states(jobs) if jobs else ():
            for job, state in states.items():
                self._say_ended(jobs[job], tally)
                if not jobs[job]:  # its process has still to leave
                    del jobs[job]
                elif state.is_final or (state.has_ended and self._has_left(job, jobs[job])):
                    again += self._end(job, jobs.pop(job), state, tally)
            if not jobs:
                break
            _warn(jobs, states, warned)
            running = [_shown(jobs[job]) for job in jobs if states[job].name == "RUNNING"]
            for line in running:
                tally.introduce(line.folders[0])
            waiting = sum(map(len, jobs.values())) - sum(len(line.folders) for line in running)
            show(running, waiting, tally)
        return again

    def _say_ended(self, runs: list[PlannedRun], tally: Tally) -> None:
        """Report the runs of a group that are done while others of it still train."""
        if len(runs) > 1:
            for member in [member for member in runs if member[0].is_done()]:
                runs.remove(member)
                _say_end(member[0], tally)

    def _has_left(self, job: str, runs: Sequence[PlannedRun]) -> bool:
        """Whether a job that has ended has left all that it will, so that nobody need wait."""
        log = log_of(job, self.folder)
        return all(run.is_done() or left_alone(log, run.folder) for run, _ in runs)

    def _end(
        self, job: str, runs: Sequence[PlannedRun], state: JobState, tally: Tally
    ) -> list[PlannedRun]:
        """Report the runs of a job that has ended; returns those that are to be submitted again."""
        again, log = [], log_of(job, self.folder)
        for run, config in runs:
            has_completed = state.name == "COMPLETED" and has_ended(run.folder, run.pause_after)
            if run.is_done() or has_completed:
                _say_end(run, tally)
            elif (reason := left_alone(log, run.folder)) and (kind := kind_of(config)):
                self._note_refusal(kind, reason)
                again.append((run, config))
            else:
                _say_failure(job, run, state, log, tally)
        return again


def _say_failure(job: str, run: Planned, state: JobState, log: Path, tally: Tally) -> None:
    reason, code = last_words(log, run.folder)
    ending = f"{state.name}: {reason}" if reason else state.name
    delete_alone(run.folder, JOB, [run.folder])  # a refused run's reason is in its log
    why = f"job {job} {ending}; see {log}"
    tally.failed(run.name, why, code or _code(state), kept=run.folder.exists())


def _say_end(run: Planned, tally: Tally) -> None:
    lacks = lacking(run.folder, run.asked)  # of what was asked for after the job was submitted
    parts = {
        Lack.CALIBRATOR: run.calibrator,
        Lack.SHIFT: "its scores under shift",
        Lack.FOREIGN: "its scores on foreign images",
    }
    if missing := [words for lack, words in parts.items() if lack in lacks]:
        why = f"trained without {' and '.join(missing)}, which the same command adds"
        tally.failed(run.name, why, Exit.NOT_AS_EXPECTED)
        return
    try:
        tally.done(run.name, outcome(run.folder), run.calibrator, trained=True)
    except DataError as error:
        tally.failed(run.name, str(error), Exit.DATA)


def _shown(runs: Sequence[PlannedRun]) -> ShownRun:
    name = f"{n_runs(len(runs))} together," if len(runs) > 1 else runs[0][0].name
    return ShownRun(name, tuple(run.folder for run, _ in runs), 0, 1)


def _job_of(run: Planned, states: Mapping[str, JobState]) -> str | None:
    """The id of the job that the run was given before, if that has not ended."""
    job = last_job(run.folder)
    return job if job in states and not states[job].has_ended else None


def _code(state: JobState) -> int:
    """The exit code for a job whose log has none: resumable if SLURM has ended it."""
    return Exit.UNAVAILABLE if state.name == "FAILED" else Exit.PREEMPTED


def _warn(jobs: Jobs, states: Mapping[str, JobState], warned: set[str]) -> None:
    """Say once for each reason which job waits for what may never come."""
    for job, state in states.items():
        if job in jobs and state.name == "PENDING" and state.reason not in PASSING | warned:
            warned.add(state.reason)
            say(f"SLURM: job {job} waits: {state.reason}")
