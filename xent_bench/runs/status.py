"""The state of each run in a folder: done, running, stopped, failed, or missing."""

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from xent_bench.runs.annotated import annotation_lines
from xent_bench.runs.begun import (
    STILL_RUNNING,
    Unfinished,
    is_paused,
    load_begun,
    load_unfinished_run,
    was_stopped,
)
from xent_bench.runs.files import BEGUN, JOB, RESULT, has_result, is_pending, no_folder
from xent_bench.runs.lacking import Asked, Lack, has_ended, lacking
from xent_bench.runs.mixtures import mixed_code, mixed_data
from xent_bench.runs.pace import load_pace, silence
from xent_bench.runs.reading import read_text
from xent_bench.runs.removed import folder_name, removed_from
from xent_bench.runs.result import Run, load_run
from xent_bench.runs.sweep_record import Planned, Sweep, load_sweep

PARTS = {
    Lack.CALIBRATOR: "calibrator's numbers",
    Lack.WEIGHTS: "weights",
    Lack.SHIFT: "scores under shift",
    Lack.FOREIGN: "scores on foreign images",
    Lack.MODEL: "MLflow model",
}
MARKS = (RESULT, BEGUN)  # a folder with one of these is a run's


class State(Enum):
    """States of a run, in the order in which they are shown."""

    DONE = "done"
    RUNNING = "running"
    WAITING = "waiting"  # in SLURM's queue
    PAUSED = "paused"  # as it was asked to: it goes on when somebody wants it to
    STOPPED = "stopped"  # killed, preempted or interrupted: the same command goes on
    FAILED = "failed"
    MISSING = "missing"
    NOT_IN_MLFLOW = "not in MLflow"

    @property
    def needs_training(self) -> bool:
        """Whether somebody has to type a command to complete the run."""
        return self in (State.STOPPED, State.FAILED, State.MISSING)


class RunStatus(NamedTuple):
    """How one run stands: its name, state, reason and the command that trains it."""

    name: str
    state: State
    why: str  # the reason, or how far it is
    command: str


class Experiment(NamedTuple):
    """The runs in one folder, and the command that finishes those of its last sweep."""

    folder: Path
    runs: list[RunStatus]
    swept: int  # the first so many runs are those of the sweep
    command: str
    to_sync: int  # results that MLflow lacks
    mixtures: list[str]  # data and code that differ between the runs
    annotations: list[str]  # lines of its users' notes and tags
    removed: int  # runs that were removed from the folder
    news: tuple[str, ...]  # what the design of its last sweep has decided
    further: tuple[str, ...]  # what may follow when the runs of the sweep have ended

    @property
    def is_done(self) -> bool:
        """Whether all of its runs are done or paused as asked, and none may follow."""
        return not self.further and all(
            run.state in (State.DONE, State.PAUSED) for run in self.runs
        )


def experiments_in(
    folder: Path,
    jobs: Mapping[str, bool] = {},
    progress: Callable[[Sweep, Path], Sweep] = lambda record, _: record,
) -> list[Experiment]:
    """Look at the experiments in a folder, or at the one that it is; a ValueError without runs.

    `jobs`: of SLURM's jobs that have not ended, by their ids, whether they run. `progress` brings
    the record of a sweep by a design up to date.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of runs, got {folder}: {no_folder(folder)}")
    below = sorted(place for place in folder.iterdir() if place.is_dir() and place.name[0] != ".")
    experiments = [_experiment(place, jobs, progress) for place in (folder, *below)]
    with_runs = [e for e in experiments if e.runs or e.removed]
    if not with_runs:
        raise ValueError(f"no run in {folder}")
    return with_runs


def _experiment(
    folder: Path, jobs: Mapping[str, bool], progress: Callable[[Sweep, Path], Sweep]
) -> Experiment:
    sweep = progress(load_sweep(folder) or Sweep(None, "", []), folder)
    # by the folder's name alone: the sweep may have been typed in another directory
    planned = {
        run.folder.name: run for run in sweep.runs if run.folder.parent.name == folder_name(folder)
    }
    begun = dict.fromkeys(run_folder.name for run_folder in _run_folders(folder))
    names = [*planned, *(name for name in begun if name not in planned)]
    runs = [
        _in_queue(folder / name, jobs, _status_of(folder / name, planned.get(name)))
        for name in names
    ]
    to_sync = sum(is_pending(folder / name) for name in begun)
    readable = [run for name in begun if (run := _run_in(folder / name)) is not None]
    mixtures = [*mixed_data(readable), *mixed_code(readable)]
    notes = annotation_lines(readable)
    return Experiment(
        *(folder, runs, len(planned), sweep.command),
        *(to_sync, mixtures, notes, removed_from(folder)),
        *(sweep.news, sweep.further),
    )


def _run_in(folder: Path) -> Run | Unfinished | None:
    """Read a folder's run, finished or not; None where it is damaged."""
    try:
        return load_run(folder / RESULT) if has_result(folder) else load_begun(folder)
    except ValueError:  # the run's own line says so
        return None


def _run_folders(folder: Path) -> Iterator[Path]:
    for place in sorted(folder.iterdir()):
        if place.is_dir() and any((place / mark).exists() for mark in MARKS):
            yield place


def _state_with_result(lacks: Lack) -> tuple[State, str]:
    if Lack.RESULT in lacks:
        return State.STOPPED, f"its {RESULT} is damaged"
    missing = [word for lack, word in PARTS.items() if lack in lacks]
    if missing:
        return State.STOPPED, f"trained; it lacks its {' and its '.join(missing)}"
    if Lack.UPLOAD in lacks:
        return State.NOT_IN_MLFLOW, "trained; its upload is missing"
    return State.DONE, ""


def last_job(folder: Path) -> str:
    """The id of the SLURM job that the run was last given to; empty if there is none."""
    try:
        return read_text(folder / JOB).strip()
    except (OSError, ValueError):  # damaged, or a pipe
        return ""


def _in_queue(folder: Path, jobs: Mapping[str, bool], status: RunStatus) -> RunStatus:
    """Return the status; WAITING or RUNNING if a SLURM job will train the run."""
    job = last_job(folder) if status.state.needs_training else ""
    if job not in jobs:
        return status
    if jobs[job]:  # between its start and its first file, or its last one and the job's end
        return status._replace(state=State.RUNNING, why=f"starting (job {job})")
    was = f", {status.why}" if status.why else ""
    return status._replace(state=State.WAITING, why=f"job {job}{was}")


def _status_of(folder: Path, planned: Planned | None) -> RunStatus:
    name, command = (planned.name, planned.command) if planned else (folder.name, "")
    if has_result(folder):
        lacks = lacking(folder, planned.asked if planned else Asked())
        return RunStatus(name, *_state_with_result(lacks), command)
    if not any((folder / mark).exists() for mark in MARKS):
        return RunStatus(name, State.MISSING, "", command)
    try:
        begun = load_unfinished_run(folder)
    except ValueError as error:
        return RunStatus(name, State.FAILED, str(error), command)
    pace = load_pace(folder)
    if begun.reason == STILL_RUNNING:
        why = f"{pace}{silence(pace.time)}" if pace else "starting"
        return RunStatus(name, State.RUNNING, why, command)
    if is_paused(begun):
        # the last sweep may ask for more than an earlier one did, and not have come to it
        is_short = planned is not None and not has_ended(folder, planned.pause_after)
        state = State.STOPPED if is_short else State.PAUSED
        return RunStatus(name, state, begun.reason, command or begun.command)
    reason = begun.reason.removeprefix("Preempted: ")
    stopped = was_stopped(begun)
    at = f" at epoch {pace.epoch:.1f}/{pace.epochs}" if stopped and pace else ""
    state = State.STOPPED if stopped else State.FAILED
    return RunStatus(name, state, f"{reason}{at}", command or begun.command)
