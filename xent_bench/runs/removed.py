"""Removal of runs that nobody wants to see: their folders are put away, and can be brought back.

`runs/default/RUN` is moved to `runs/.removed/default/RUN`, which no command looks into.
"""

import os
from pathlib import Path

from filelock import FileLock, Timeout

from xent_bench.failures import Unavailable
from xent_bench.runs.files import BEGUN, LOCK, RESULT

REMOVED = ".removed"


def check_removable(folder: Path) -> None:
    """Raise a ValueError unless the folder is a run's; Unavailable while the run is trained."""
    if not folder.is_dir():
        raise ValueError(f"expected the folder of a run, got {folder}: no such folder")
    if not any((folder / name).is_file() for name in (RESULT, BEGUN)):
        raise ValueError(f"expected the folder of a run, got {folder}, which has no {BEGUN}")
    if Path(os.path.abspath(folder)).is_symlink():  # a link that is moved may lead nowhere
        raise ValueError(f"{folder} is a link: expected the folder of the run itself")
    if removed_place(folder).exists():
        raise ValueError(
            f"{removed_place(folder)} is there: a run of this name was removed before; delete that "
            "folder to remove this run too"
        )
    try:
        with FileLock(folder / LOCK, timeout=0):
            return
    except Timeout:
        raise Unavailable(f"{folder} is still running: end it first") from None


def removed_place(folder: Path) -> Path:
    """The place of a run's folder after its removal."""
    return _place_of_removed(Path(os.path.abspath(folder)).parent) / folder_name(folder)


def put_away(folder: Path) -> None:
    """Move the run's folder to its place among the removed ones."""
    place = removed_place(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    Path(os.path.abspath(folder)).rename(place)  # "." cannot be moved


def check_restorable(folder: Path) -> None:
    """Raise a ValueError unless a run was removed from here, and none has taken its place."""
    if not removed_place(folder).is_dir():
        raise ValueError(f"no run was removed from {folder}")
    if folder.exists():
        raise ValueError(f"{folder} is there again: remove it first, or leave both as they are")


def bring_back(folder: Path) -> None:
    """Move a removed run back to its folder; empty folders of removed runs are deleted."""
    place = removed_place(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    place.rename(folder)
    for parent in (place.parent, place.parent.parent):
        if not any(parent.iterdir()):
            parent.rmdir()


def removed_from(folder: Path) -> int:
    """The number of runs that were removed from an experiment's folder."""
    place = _place_of_removed(folder)
    return sum(entry.is_dir() for entry in place.iterdir()) if place.is_dir() else 0


def folder_name(folder: Path) -> str:
    """The name of a folder, however it was typed: `.` has one too."""
    return os.path.basename(os.path.abspath(folder))


def _place_of_removed(experiment: Path) -> Path:
    """The place of an experiment's removed runs, on its own disk where the folder is a link."""
    experiment = experiment.resolve()
    return experiment.parent / REMOVED / experiment.name
