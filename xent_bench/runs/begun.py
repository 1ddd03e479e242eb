"""The record of how a run began and why it ended, kept in its folder as `begun.json`."""

import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from xent_bench.failures import DataError
from xent_bench.runs.files import BEGUN, DAMAGED, LOCK, has_result, run_folders, write_json
from xent_bench.runs.reading import read_sealed

LATEST = 1e11  # unix seconds, thousands of years from now: MLflow has milliseconds in 64 bits
UNTOLD = "killed"  # the reason until another is kept: a killed process has no time to
STILL_RUNNING = "still running"  # the reason while a process holds the folder's lock
PAUSED = re.compile(r"paused after epoch ([1-9]\d{0,9}) of [1-9]\d{0,9}")  # the reason of a pause
NOT_KEPT = ("folder", "metrics")  # fields that are no part of the file


@dataclass(frozen=True)
class Unfinished:
    """The content of `begun.json`: a run that began and has no result yet."""

    name: str
    experiment: str
    params: dict[str, Any]
    command: str
    reason: str = UNTOLD  # why it ended
    tags: dict[str, str] = field(default_factory=dict)  # for its run in MLflow
    started: float | None = None  # unix seconds
    folder: Path | None = field(default=None, compare=False)  # where a report read it from
    # scores on val after its last epoch, where a report read it from MLflow
    metrics: dict[str, float] = field(default_factory=dict, compare=False)

    def content(self) -> dict[str, Any]:
        """Return the fields of the run as `begun.json` holds them."""
        return {key: value for key, value in asdict(self).items() if key not in NOT_KEPT}


def load_unfinished(folder: Path) -> list[Unfinished]:
    """Load the runs that began and have no result: diverged, failed, killed, or still running.

    A ValueError if the record of one cannot be read, or does not say what was to be trained.
    """
    # A folder without the file has no run: a process that was killed before it had written it, or
    # while it deleted a run that was refused, has trained nothing.
    return [
        replace(_compared(load_unfinished_run(run_folder), run_folder), folder=run_folder)
        for run_folder in run_folders(folder, BEGUN)
        if not _is_artifact(run_folder.relative_to(folder)) and not has_result(run_folder)
    ]


def load_begun(folder: Path) -> Unfinished:
    """Load the record of how a run began; a DataError if that is missing or cannot be read."""
    file = folder / BEGUN
    try:
        content = read_sealed(file)
        run = Unfinished(**{key: content[key] for key in content if key not in NOT_KEPT})
        _check(run)
    except DAMAGED as error:
        raise DataError(f"expected what a run began with in {file}: {error}") from error
    return run


def was_stopped(run: Unfinished) -> bool:
    """Whether it was killed, interrupted or preempted: the same command goes on with the run."""
    return run.reason.startswith(("killed", "interrupted", "Preempted"))


def pause(epoch: int, epochs: int) -> str:
    """The reason of a run that pauses after an epoch, counted from 1: it is to go on later."""
    return f"paused after epoch {epoch} of {epochs}"


def is_paused(run: Unfinished) -> bool:
    """Whether the run was told to pause, which is no failure: its command goes on with it."""
    return paused_epoch(run) is not None


def paused_epoch(run: Unfinished) -> int | None:
    """The epochs after which the run was paused; None for a run that ended in another way."""
    match = PAUSED.fullmatch(run.reason)
    return int(match[1]) if match else None


def load_unfinished_run(folder: Path) -> Unfinished:
    """Load the record of how a run began.

    Its reason is 'still running' while a process holds the folder's lock.
    """
    run = load_begun(folder)
    return replace(run, reason=STILL_RUNNING) if _is_held(folder / LOCK) else run


def _is_held(lock: Path) -> bool:
    """Whether a process holds the lock of a run's folder."""
    if not lock.exists():
        return False
    from filelock import FileLock, Timeout  # 20 ms of --help

    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # somebody else's folder, where we may only read
        return False


def save_begun(run: Unfinished, folder: Path) -> None:
    """Write the record of how the run began, which appears whole."""
    write_json(folder / BEGUN, run.content())


def keep_reason(folder: Path, reason: str) -> None:
    """Write to `begun.json` why the run ended."""
    begun = load_begun(folder)
    if begun.reason != reason:
        save_begun(replace(begun, reason=reason), folder)


def _check(run: Unfinished) -> None:
    """Raise a ValueError unless each field has the type of what a run writes."""
    for name in ("name", "experiment", "command", "reason"):
        value = getattr(run, name)
        if not isinstance(value, str):
            raise ValueError(f"expected a text as {name}, got {value!r}"[:200])
    for name, pairs in (("params", run.params), ("tags", run.tags)):
        if not isinstance(pairs, dict):
            raise ValueError(f"expected names and values as {name}, got {pairs!r}"[:200])
    for value in run.tags.values():
        if not isinstance(value, str):
            raise ValueError(f"expected texts as tags, got {value!r}"[:200])
    is_time = isinstance(run.started, int | float) and 0 <= run.started < LATEST
    if run.started is not None and not is_time:
        raise ValueError(f"expected a time in unix seconds as started, got {run.started!r}"[:200])


def _compared(run: Unfinished, folder: Path) -> Unfinished:
    """Return the run unchanged; a ValueError if it lacks what a report compares runs by."""
    lacking = [key for key in ("loss", "data", "model", "seed") if key not in run.params]
    if lacking:
        raise ValueError(f"expected {', '.join(lacking)} among the params in {folder / BEGUN}")
    return run


def _is_artifact(place: Path) -> bool:
    """Whether the place is among MLflow's copies, in the folder `mlflow` of an experiment."""
    return "mlflow" in place.parts
