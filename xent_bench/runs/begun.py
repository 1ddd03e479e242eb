"""The beginning of a run, kept in its folder as `begun.json`: what has no result (yet)."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from xent_bench.runs.files import DAMAGED, LOCK, has_result, write_json

UNTOLD = "killed"  # by what leaves a process no time to say it


@dataclass(frozen=True)
class Unfinished:
    """What `begun.json` holds of a run that has no result (yet)."""

    name: str
    experiment: str
    params: dict[str, Any]
    command: str
    reason: str = UNTOLD  # why it ended
    tags: dict[str, str] = field(default_factory=dict)  # of its run in MLflow
    started: float | None = None  # unix seconds


def load_unfinished(folder: Path) -> list[Unfinished]:
    """Runs that began and have no result: diverged, failed, killed, or still running."""
    named = ("begun.json", "config.yaml")  # the second of those before the first was written
    begun = sorted({file.parent for name in named for file in folder.rglob(name)})
    return [
        as_it_is(each)
        for each in begun
        if not _is_artifact(each.relative_to(folder)) and not has_result(each)
    ]


def load_begun(folder: Path) -> Unfinished:
    """What a run began with; a ValueError if that cannot be read."""
    file = folder / "begun.json"
    if not file.exists():  # older than this file
        return Unfinished(folder.name, folder.parent.name, {}, "")
    try:
        return Unfinished(**json.loads(file.read_text()))
    except DAMAGED as error:
        raise ValueError(f"expected what a run began with in {file}: {error}") from error


def was_stopped(run: Unfinished) -> bool:
    """Killed, interrupted or preempted: it did not fail, and the same command goes on with it."""
    return run.reason.startswith(("killed", "interrupted", "Preempted"))


def as_it_is(folder: Path) -> Unfinished:
    """The same, or that it is still running."""
    run = load_begun(folder)
    return replace(run, reason="still running") if _is_held(folder / LOCK) else run


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
    except OSError:  # somebody else's folder, which may be read only
        return False


def save_begun(run: Unfinished, folder: Path) -> None:
    """Its `begun.json`, which appears whole."""
    write_json(folder / "begun.json", asdict(run))


def keep_reason(folder: Path, reason: str) -> None:
    """Why it ended, in its `begun.json`."""
    begun = load_begun(folder)
    if begun.reason != reason:
        save_begun(replace(begun, reason=reason), folder)


def _is_artifact(place: Path) -> bool:
    """Whether it lies among MLflow's copies, in the folder `mlflow` of an experiment."""
    return "mlflow" in place.parts
