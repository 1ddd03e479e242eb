"""Artifacts of a store whose folder was moved or copied: they are looked for where the store is.

MLflow keeps the whole path of each experiment's and each run's artifacts, and cannot change it.
After a move it would write pictures to the old place, or show none.
"""

import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

OURS = "mlflow"  # the folder of artifacts beside the runs of an experiment
# columns of addresses: of what belongs to an experiment, and of versions of registered models
OF_EXPERIMENT = (("runs", "artifact_uri"), ("logged_models", "artifact_location"))
OF_VERSION = ("source", "storage_location")


class Move(NamedTuple):
    """An experiment whose artifacts lie elsewhere than the store says."""

    experiment_id: int
    old: str  # address of the folder of its artifacts
    new: str


def settle_artifacts(file: Path) -> None:
    """Make a moved or copied SQLite store name the artifacts that moved with it, and say so.

    A store that cannot be written stays as it is.
    """
    home = file.absolute().parent
    with suppress(sqlite3.Error), closing(sqlite3.connect(file, timeout=5)) as base:
        moves = list(_moves(base, home))
        if not moves:
            return
        with base:
            for move in moves:
                _change(base, move)
        places = sorted({str(_path(move.old)) for move in moves})
        some = places[0] + (f" and {len(places) - 1} more" if len(places) > 1 else "")
        print(f"{file}: moved; its artifacts are no longer looked for in {some}", file=sys.stderr)


def _moves(base: sqlite3.Connection, home: Path) -> Iterator[Move]:
    """The experiments whose artifacts, or whose folder, exist below the store's own folder."""
    rows = base.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
    for experiment_id, location in rows:
        old = _path(location or "")
        if old is None or old.is_relative_to(home):
            continue
        new = _moved_to(base, experiment_id, old, home)
        if new is not None:
            yield Move(experiment_id, location.rstrip("/"), new.as_uri())


def _moved_to(base: sqlite3.Connection, experiment_id: int, old: Path, home: Path) -> Path | None:
    """The folder below `home` that holds runs of this store under the last parts of the old path.

    None if there is none, as where the artifacts were always elsewhere.
    """
    runs = base.execute(
        "SELECT run_uuid FROM runs WHERE experiment_id = ? LIMIT 1000", (experiment_id,)
    ).fetchall()
    is_new = not runs and old.name == OURS and not old.parent.exists()
    for start in range(1, len(old.parts)):
        place = home.joinpath(*old.parts[start:])
        if any((place / run_id).is_dir() for (run_id,) in runs):
            return place
        if is_new and place != home / OURS and place.parent.is_dir():
            return place
    return None


def _change(base: sqlite3.Connection, move: Move) -> None:
    base.execute(
        "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
        (move.new, move.experiment_id),
    )
    for table, column in OF_EXPERIMENT:
        _replace_start(base, table, column, move, " AND experiment_id = ?", move.experiment_id)
    for column in OF_VERSION:  # versions of the registry belong to no experiment
        _replace_start(base, "model_versions", column, move)


def _replace_start(
    base: sqlite3.Connection, table: str, column: str, move: Move, where: str = "", *values: Any
) -> None:
    """Let the addresses in a column that lie below the old folder lie below the new one."""
    base.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
        f" WHERE substr({column}, 1, ?) = ?{where}",
        (move.new, len(move.old) + 1, len(move.old) + 1, move.old + "/", *values),
    )


def _path(location: str) -> Path | None:
    """The folder that a location names on this machine; None for one on a server."""
    parts = urlsplit(location)
    if parts.scheme == "file" and not parts.netloc:
        return Path(unquote(parts.path))
    return Path(location) if location.startswith("/") else None
