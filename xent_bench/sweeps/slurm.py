"""The launcher of a sweep on a cluster: each missing run is a SLURM job.

A job runs the run's own command, and so goes on where an earlier one stopped. SLURM puts a
preempted job back into its queue by itself, submitit puts back one that is out of time. The
launcher only watches how they end; typed again after Ctrl-C, the command watches the same jobs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from filelock import FileLock
from omegaconf import OmegaConf

from xent_bench.config.explain import refuse
from xent_bench.exit_codes import Exit
from xent_bench.failures import DataError, Unavailable
from xent_bench.process.signals import Preempted
from xent_bench.runs.files import JOB
from xent_bench.runs.lacking import Lack, has_ended, lacking
from xent_bench.runs.outcome import outcome
from xent_bench.runs.refusal import delete_alone
from xent_bench.runs.sweep_record import Planned
from xent_bench.runs.whole_files import write_whole
from xent_bench.sweeps.launcher import SweepLauncher
from xent_bench.sweeps.lines import Tally, say
from xent_bench.sweeps.live import Show, ShownRun, live_display
from xent_bench.sweeps.plan import PlannedRun
from xent_bench.sweeps.slurm_job import last_words, log_of, submit
from xent_bench.sweeps.slurm_queue import PASSING, JobState, job_states, polled_states
from xent_bench.tables import n_runs


class Slurm(SweepLauncher):
    """Submits a job per missing run by the settings of Hydra's submitit plugin, and watches it."""

    def __init__(self, **settings: Any) -> None:
        """`settings`: those of the plugin's schema."""
        plain = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
        self.settings = cast(dict[str, Any], plain)
        self.folder = Path(self.settings["submitit_folder"])

    def train(self, missing: list[PlannedRun], gpus: int, tally: Tally) -> None:
        """Submit the runs that are in no job, and watch until all have ended."""
        planned = [run for run, _ in missing]
        try:
            # jobs of an earlier command may have ended since the plan was made
            ended = [run for run in planned if run.is_done()]
            open_runs = [run for run in planned if run not in ended]
            jobs, later = self._jobs(open_runs) if open_runs else ({}, [])
        except Unavailable as error:
            refuse(error)
        for run in ended:
            _say_end(run, tally)
        folder = planned[-1].folder.parent
        try:
            with live_display() as show:
                self._watch(jobs, tally, show)
                while later:  # the cluster took no more at a time
                    jobs, later = self._jobs(later)
                    self._watch(jobs, tally, show)
        except Unavailable as error:
            tally.say_sum(folder, unfinished=len(later))
            refuse(error)
        except (KeyboardInterrupt, Preempted):
            tally.say_sum(folder, unfinished=len(jobs) + len(later))
            arrays = sorted({job.partition("_")[0] for job in jobs})
            say(
                f"The jobs go on; typed again, the command watches them. To end them: scancel "
                f"{' '.join(arrays)}"
            )
            raise

    def _jobs(self, missing: Sequence[Planned]) -> tuple[dict[str, Planned], list[Planned]]:
        """Each run by its job's id: a job that waits or runs already, else a new one.

        Also lists the runs for which the cluster takes no more jobs now.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):  # the same command in two windows
            states = job_states()
            jobs = {job: run for run in missing if (job := _job_of(run, states))}
            before = len(jobs)
            new = [run for run in missing if run not in jobs.values()]
            # one run in a job, whatever machine.jobs was typed for a single machine
            commands = [f"{run.command} machine.jobs=1" for run in new]
            later = list(new)
            try:
                for job in submit(commands, self.settings):
                    run = later.pop(0)
                    run.folder.mkdir(parents=True, exist_ok=True)
                    write_whole(run.folder / JOB, job)
                    jobs[job] = run
            except Unavailable:
                if not jobs:
                    raise
        submitted = len(new) - len(later)
        counts = [f"{n_runs(submitted)} submitted"] if submitted else []
        counts += [f"{n_runs(before)} submitted before"] if before else []
        counts += [f"{n_runs(len(later))} when these have ended"] if later else []
        say(f"SLURM: {', '.join(counts)}; logs: {self.folder}")
        return jobs, later

    def _watch(self, jobs: dict[str, Planned], tally: Tally, show: Show) -> None:
        warned: set[str] = set()
        for states in polled_states(jobs) if jobs else ():
            for job, state in states.items():
                if state.is_final or (state.has_ended and jobs[job].is_done()):
                    self._end(job, jobs.pop(job), state, tally)
            if not jobs:
                return
            _warn(jobs, states, warned)
            running = [job for job in jobs if states[job].name == "RUNNING"]
            shown = [ShownRun(jobs[job].name, (jobs[job].folder,), 0, 1) for job in running]
            for job in running:
                tally.introduce(jobs[job].folder)
            show(shown, len(jobs) - len(running), tally)

    def _end(self, job: str, run: Planned, state: JobState, tally: Tally) -> None:
        has_completed = state.name == "COMPLETED" and has_ended(run.folder, run.pause_after)
        if run.is_done() or has_completed:
            _say_end(run, tally)
            return
        log = log_of(job, self.folder)
        reason, code = last_words(log)
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


def _job_of(run: Planned, states: Mapping[str, JobState]) -> str | None:
    """The id of the job that the run was given before, if that has not ended."""
    file = run.folder / JOB
    job = file.read_text(errors="replace") if file.is_file() else ""
    return job if job in states and not states[job].has_ended else None


def _code(state: JobState) -> int:
    """The exit code for a job whose log has none: resumable if SLURM has ended it."""
    return Exit.UNAVAILABLE if state.name == "FAILED" else Exit.PREEMPTED


def _warn(jobs: Mapping[str, Planned], states: Mapping[str, JobState], warned: set[str]) -> None:
    """Say once for each reason which job waits for what may never come."""
    for job, state in states.items():
        if job in jobs and state.name == "PENDING" and state.reason not in PASSING | warned:
            warned.add(state.reason)
            say(f"SLURM: job {job} waits: {state.reason}")
