"""A refused command leaves nothing behind: no file and no folder that was not there before it.

What was refused before it was begun in MLflow has trained nothing: its folder would count as a
trial in a report, and xent-status would offer to type the mistake again.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from xent_bench.config.explain import USER_ERRORS
from xent_bench.failures import Diverged, ProcessEnded, worth_another_try
from xent_bench.runs.files import JOB, LOCK, LOG, NOT_IN_MLFLOW

LAUNCHERS = {LOG, JOB}  # files that a launcher puts there first, and removes itself
# all that an attempt writes before its MLflow run is made; each appears under `.part` first
WRITTEN = {
    f"{name}{part}"
    for name in ("begun.json", "config.yaml", NOT_IN_MLFLOW)
    for part in ("", ".part")
}


def missing_folders(folder: Path) -> list[Path]:
    """The folder and those above it that do not exist, innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


@contextmanager
def leaving_nothing(folder: Path, made: Sequence[Path]) -> Iterator[None]:
    """Delete what an attempt within has written to the folder, if it is refused at its start.

    The caller holds the folder's lock. A folder that held a run before is left as it is, and so
    is one in which a run was begun in MLflow. `made` are the folders that were made for the run,
    innermost first: they go as far as they are empty.
    """
    fresh = _names(folder) <= {LOCK} | LAUNCHERS
    try:
        yield
    except Exception as error:
        if fresh and is_refusal(error) and _names(folder) <= {LOCK} | LAUNCHERS | WRITTEN:
            _delete(folder, _names(folder) - LAUNCHERS, made)
        raise


def is_refusal(error: Exception) -> bool:
    """Whether the command, or what it names, is at fault: typed again it fails again.

    Not a run that diverged, was killed, or lacked memory or room.
    """
    passing = isinstance(error, Diverged | ProcessEnded) or worth_another_try(error)
    return isinstance(error, USER_ERRORS) and not passing


def delete_alone(folder: Path, name: str, made: Sequence[Path]) -> None:
    """Delete a launcher's file, and the folders made for it, if nothing else is left there."""
    if folder.is_dir() and _names(folder) == {name}:
        _delete(folder, {name}, made)


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder))


def _delete(folder: Path, names: set[str], made: Sequence[Path]) -> None:
    with suppress(OSError):  # a folder that is not empty, or a disk that may only be read
        for name in sorted(names):
            (folder / name).unlink()
        for place in made:
            place.rmdir()
