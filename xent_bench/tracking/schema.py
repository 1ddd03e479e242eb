"""Checks that a database is an MLflow store which the installed MLflow can use.

MLflow itself would add its tables to any database, and refuses another schema only when a run has
begun. Nothing of MLflow is imported: that takes two seconds.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Query = Callable[[str], Sequence[Sequence[Any]]]

OURS = {"experiments", "runs", "alembic_version"}  # tables of every MLflow store
_REVISION = re.compile(
    r"^(down_revision|revision)\s*(?::[^=\n]*)?=\s*[\"'](\w+)[\"']", re.MULTILINE
)


def check_store(
    uri: str, tables: Iterable[str], query: Query, experiments: Iterable[str] = ()
) -> None:
    """Check a database that has tables; ValueError unless it is a store with the right schema.

    Also a ValueError if one of the experiments was deleted: MLflow takes no run in it.
    """
    names = set(tables)
    if not names:  # a new database: MLflow creates its tables
        return
    if not names >= OURS:
        some = ", ".join(sorted(names)[:3])
        raise ValueError(f"a database of another program, with the tables {some}: name another")
    _check_revision(uri, [str(row[0]) for row in query("SELECT version_num FROM alembic_version")])
    wanted = set(experiments)
    if wanted:
        stages = query("SELECT name, experiment_id, lifecycle_stage FROM experiments")
        for name, experiment_id, stage in stages:
            if name in wanted and stage == "deleted":
                raise ValueError(deleted(name, experiment_id))


def deleted(experiment: object, experiment_id: object) -> str:
    """Say that an experiment was deleted in MLflow, and what to do."""
    return (
        f"its experiment {experiment} was deleted there; another name, or first: "
        f"mlflow experiments restore --experiment-id {experiment_id}"
    )


def _check_revision(uri: str, stored: list[str]) -> None:
    newest, earlier = revisions()
    if not newest or stored == [newest]:
        return
    if stored and set(stored) <= earlier:
        raise ValueError(
            f"an older MLflow made it; after a backup: mlflow db upgrade {uri} brings it to "
            f"MLflow {version('mlflow')}"
        )
    raise ValueError(
        f"another MLflow than the {version('mlflow')} here made it, a newer one perhaps, with the "
        f"schema {', '.join(stored) or 'of no name'}: pip install --upgrade mlflow"
    )


@cache
def revisions() -> tuple[str, set[str]]:
    """The newest revision of the installed MLflow's tables, and all earlier ones.

    Empty where MLflow keeps them in another form than it did up to version 3.17.
    """
    spec = find_spec("mlflow")
    folders = (spec.submodule_search_locations if spec else None) or []
    files = [
        file
        for folder in folders
        for file in (Path(folder) / "store" / "db_migrations" / "versions").glob("*.py")
    ]
    pairs = [match for file in files for match in _REVISION.findall(file.read_text())]
    every = {revision for name, revision in pairs if name == "revision"}
    earlier = {revision for name, revision in pairs if name == "down_revision"}
    newest = every - earlier
    return (newest.pop(), earlier) if len(newest) == 1 else ("", set())
