"""Removal of the files and folders that a refused command has written.

A run that is refused before it begins in MLflow has trained nothing. Its folder would count as a
trial in a report, and xent-status would offer to type the mistake again.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from xent_bench.config.explain import USER_ERRORS
from xent_bench.failures import Diverged, ProcessEnded, worth_another_try
from xent_bench.runs.files import AT_START, BEGUN, JOB, LOCK, LOG, NOT_IN_MLFLOW

LAUNCHERS = {LOG, JOB}  # a launcher writes these before the run starts, and removes them
# files that a run writes before its MLflow run is created; each is a `.part` first
BEFORE_MLFLOW = {
    f"{name}{part}" for name in (BEGUN, *AT_START, NOT_IN_MLFLOW) for part in ("", ".part")
}


def missing_folders(folder: Path) -> list[Path]:
    """List the folder and those above it that do not exist, innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


@contextmanager
def leaving_nothing(folder: Path, new_folders: Sequence[Path]) -> Iterator[None]:
    """A context for one run: if it is refused at its start, what it wrote to the folder is deleted.

    The caller holds the folder's lock. A folder that held a run before is left as it is, and so
    is one whose run has begun in MLflow. `new_folders` are those that were created for the run,
    innermost first; those that are empty then are deleted too.
    """
    was_new = _names(folder) <= {LOCK} | LAUNCHERS
    try:
        yield
    except Exception as error:
        if was_new and is_refusal(error) and not has_begun(folder):
            _delete(folder, _names(folder) - LAUNCHERS, new_folders)
        raise


def has_begun(folder: Path) -> bool:
    """Whether the folder holds more than a run writes before its first step."""
    return not _names(folder) <= {LOCK} | LAUNCHERS | BEFORE_MLFLOW


def is_refusal(error: Exception) -> bool:
    """Whether the command, or something that it names, is at fault and would be refused again.

    False of a run that diverged, was killed, or lacked memory or room.
    """
    is_chance = isinstance(error, Diverged | ProcessEnded) or worth_another_try(error)
    return isinstance(error, USER_ERRORS) and not is_chance


def delete_alone(folder: Path, name: str, new_folders: Sequence[Path]) -> None:
    """Delete a launcher's file and the folders created for it, if nothing else is left there."""
    if folder.is_dir() and _names(folder) == {name}:
        _delete(folder, {name}, new_folders)


def _names(folder: Path) -> set[str]:
    return set(os.listdir(folder))


def _delete(folder: Path, names: set[str], new_folders: Sequence[Path]) -> None:
    with suppress(OSError):  # a folder is not empty, or we may only read
        for name in sorted(names):
            (folder / name).unlink()
        for new_folder in new_folders:
            new_folder.rmdir()
