"""The launcher of a sweep on a cluster: each missing run is a job of SLURM's.

A job types the run's own command, and so goes on where an earlier one stopped. SLURM puts a
preempted job back into its queue by itself, submitit one that is out of time. Here is only
watched how they end; who stops watching, and types the command again, watches the same jobs.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from filelock import FileLock
from hydra.core.utils import JobReturn
from omegaconf import OmegaConf

from xent_bench.config.explain import refuse
from xent_bench.failures import Unavailable
from xent_bench.process.signals import EXIT_CODE as PREEMPTED
from xent_bench.process.signals import Preempted
from xent_bench.runs.files import JOB, RESULT, has_result
from xent_bench.runs.refusal import delete_alone
from xent_bench.runs.result import load_run
from xent_bench.runs.sweep_record import DAMAGED, Planned
from xent_bench.runs.whole_files import write_whole
from xent_bench.sweeps.launching import PlannedRuns, returned
from xent_bench.sweeps.lines import Tally, runs, say
from xent_bench.sweeps.live import Show, Shown, view
from xent_bench.sweeps.slurm_job import last_words, log_of, submit
from xent_bench.sweeps.slurm_queue import PASSING, State, queue, states


class Slurm(PlannedRuns):
    """With the settings of Hydra's plugin for submitit; how jobs are watched is ours."""

    def __init__(self, **settings: Any) -> None:
        """As the plugin's schema has them."""
        plain = OmegaConf.to_container(OmegaConf.create(settings), resolve=True)
        self.settings = cast(dict[str, Any], plain)
        self.folder = Path(self.settings["submitit_folder"])

    def launch(
        self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
    ) -> Sequence[JobReturn]:
        """Submit what is in no job yet, and watch; leave with the first failure's exit code."""
        chosen, _, tally = self.chosen(job_overrides)
        try:
            # those of an earlier command may have ended since this one looked
            ended = [run for run, _ in chosen if run.is_done()]
            missing = [run for run, _ in chosen if run not in ended]
            jobs = self._jobs(missing) if missing else {}
        except Unavailable as error:
            refuse(error)
        for run in ended:
            _say_end(run, tally)
        folder = chosen[-1][0].folder.parent
        try:
            with view() as show:
                self._watch(jobs, tally, show)
        except (KeyboardInterrupt, Preempted):
            tally.say_sum(folder, unfinished=len(jobs))
            arrays = sorted({job.partition("_")[0] for job in jobs})
            say(
                f"The jobs go on; typed again, the command watches them. To end them: scancel "
                f"{' '.join(arrays)}"
            )
            raise
        tally.say_sum(folder)
        if tally.codes:
            sys.exit(tally.codes[0])
        return [returned(run, config) for run, config in chosen]

    def _jobs(self, missing: Sequence[Planned]) -> dict[str, Planned]:
        """The job of each run: one that waits or runs, else a new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock"):  # the same command in two windows
            known = queue()
            jobs = {job: run for run in missing if (job := _job_of(run, known))}
            before = len(jobs)
            new = [run for run in missing if run not in jobs.values()]
            # alone in its job, whatever was typed for one machine
            commands = [f"{run.command} machine.jobs=1" for run in new]
            for job, run in zip(submit(commands, self.settings), new, strict=True):
                run.folder.mkdir(parents=True, exist_ok=True)
                write_whole(run.folder / JOB, job)
                jobs[job] = run
        said = [f"{runs(len(new))} submitted"] if new else []
        said += [f"{runs(before)} submitted before"] if before else []
        say(f"SLURM: {', '.join(said)}; logs: {self.folder}")
        return jobs

    def _watch(self, jobs: dict[str, Planned], tally: Tally, show: Show) -> None:
        warned: set[str] = set()
        for known in states(jobs) if jobs else ():
            for job, state in known.items():
                if state.is_final or (state.has_ended and jobs[job].is_done()):
                    self._end(job, jobs.pop(job), state, tally)
            if not jobs:
                return
            _warn(jobs, known, warned)
            running = [job for job in jobs if known[job].name == "RUNNING"]
            seen = [Shown(jobs[job].name, jobs[job].folder, 0, 1) for job in running]
            show(seen, len(jobs) - len(running), tally)

    def _end(self, job: str, run: Planned, state: State, tally: Tally) -> None:
        if run.is_done() or (state.name == "COMPLETED" and has_result(run.folder)):
            _say_end(run, tally)
            return
        log = log_of(job, self.folder)
        reason, code = last_words(log)
        said = f"{state.name}: {reason}" if reason else state.name
        delete_alone(run.folder, JOB, [run.folder])  # what it was refused for it said in its log
        why = f"job {job} {said}; see {log}"
        tally.failed(run.name, why, code or _code(state), kept=run.folder.exists())


def _say_end(run: Planned, tally: Tally) -> None:
    try:
        result = load_run(run.folder / RESULT).content()
        tally.done(run.name, result, run.calibrator, trained=True)
    except DAMAGED as error:
        tally.failed(run.name, f"cannot read the result in {run.folder}: {error!r}", 3)


def _job_of(run: Planned, known: Mapping[str, State]) -> str | None:
    """The job that it was given before, if that has not ended."""
    file = run.folder / JOB
    job = file.read_text() if file.exists() else ""
    return job if job in known and not known[job].has_ended else None


def _code(state: State) -> int:
    """Of a job that left without one: resumable if SLURM has ended it."""
    return 4 if state.name == "FAILED" else PREEMPTED


def _warn(jobs: Mapping[str, Planned], known: Mapping[str, State], warned: set[str]) -> None:
    """Of jobs that wait for what may never come, once for each reason."""
    for job, state in known.items():
        if job in jobs and state.name == "PENDING" and state.reason not in PASSING | warned:
            warned.add(state.reason)
            say(f"SLURM: job {job} waits: {state.reason}")
