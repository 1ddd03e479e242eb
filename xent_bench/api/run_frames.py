"""Runs as a pandas DataFrame, one row a run."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from xent_bench.failures import DataError
from xent_bench.report.places import is_store, refuse_twins
from xent_bench.runs.begun import (
    STILL_RUNNING,
    Unfinished,
    is_paused,
    load_unfinished,
    was_stopped,
)
from xent_bench.runs.files import RESULT, RUN_ID, no_folder, run_folders
from xent_bench.runs.result import Run, load_runs
from xent_bench.runs.status import State

if TYPE_CHECKING:
    import pandas as pd

PathOrStore: TypeAlias = "str | PathLike[str]"
SPEED = "examples_per_second"
# columns that every frame has, in this order, with their types in pandas
COLUMNS = {
    "name": "object",
    "experiment": "object",
    "status": "object",
    "reason": "object",
    "folder": "object",
    "run_id": "object",
    "command": "object",
    "n_test": "Int64",
    "seconds": "float64",
    SPEED: "float64",
}
WORDS = {"True": True, "False": False, "None": None}  # as MLflow writes them


def read_runs(*places: PathOrStore, experiment: str | None = None) -> "pd.DataFrame":
    """Read runs, finished or not, as a DataFrame with one row a run.

        frame = xb.read_runs("runs")
        done = frame[frame["status"] == "done"]
        done.groupby("params.loss")["metrics.test/top1"].mean()

    `places` are folders of runs ("runs" if none is given) and MLflow stores (sqlite:///mlflow.db,
    http://...); `experiment` keeps the runs of one. Columns are called as those of
    mlflow.search_runs: `params.loss`, `metrics.test/top1`, `tags.commit` and so on, and before them

    name, experiment: of the run.
    status: done, running, paused, stopped or failed, as xent-status has it; reason: why, or "".
    folder: its path, None for a run of a store; run_id: that of its run in MLflow, None without.
    command: trains the run, or goes on with it.
    n_test, seconds, examples_per_second: missing for a run without a result.

    Numbers are numbers, whole ones Int64 (which knows missing values) where some run lacks them; a
    metric that a run lacks is NaN. Runs of a sweep that were never begun are not among them. The
    frame of a place without runs is empty and has the columns above. DataError, a ValueError, for a
    place that does not exist and for a damaged file; a ValueError for a run that is in two of the
    places, which would count twice.
    """
    names = [str(place) for place in places or ("runs",)]
    runs = [
        _stored(name, experiment) if is_store(name) else _of_folder(Path(name)) for name in names
    ]
    refuse_twins(names, runs)
    records = [
        _record(run, is_text=is_store(name))
        for name, of_place in zip(names, runs, strict=True)
        for run in of_place
        if experiment in (None, run.experiment)
    ]
    return _frame(records)


def _of_folder(folder: Path) -> list[Run | Unfinished]:
    if not folder.is_dir():
        raise DataError(f"expected a folder of runs, got {folder}: {no_folder(folder)}")
    finished = load_runs(folder) if run_folders(folder, RESULT) else []
    return [*finished, *load_unfinished(folder)]


def _stored(uri: str, experiment: str | None) -> list[Run | Unfinished]:
    from xent_bench.tracking.stored_runs import find_stored_runs  # MLflow takes two seconds

    finished, unfinished = find_stored_runs(uri, experiment)
    return [*finished, *unfinished]


def _record(run: Run | Unfinished, *, is_text: bool) -> dict[str, Any]:
    """The cells of a run by column; `is_text`: parameters are texts, as a store has them."""
    tags = {key: value for key, value in run.tags.items() if key != RUN_ID}
    params = {key: _read(value) if is_text else value for key, value in run.params.items()}
    return {
        "name": run.name,
        "experiment": run.experiment,
        "status": (State.DONE if isinstance(run, Run) else _state(run)).value,
        "reason": "" if isinstance(run, Run) else run.reason,
        "folder": None if run.folder is None else str(run.folder),
        "run_id": run.tags.get(RUN_ID),
        "command": run.command,
        **{name: getattr(run, name, None) for name in ("n_test", "seconds", SPEED)},
        **{f"params.{key}": value for key, value in params.items()},
        **{f"metrics.{key}": float(value) for key, value in run.metrics.items()},
        **{f"tags.{key}": value for key, value in tags.items()},
    }


def _state(run: Unfinished) -> State:
    if run.reason == STILL_RUNNING:
        return State.RUNNING
    if is_paused(run):
        return State.PAUSED
    # of a run that was stopped, a store says just `stopped`, a folder by what
    return State.STOPPED if was_stopped(run) or run.reason == "stopped" else State.FAILED


def _read(text: Any) -> Any:
    """The value that a parameter's text in a store stands for: a number, True, None, or a text."""
    if text in WORDS:
        return WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _frame(records: Sequence[dict[str, Any]]) -> "pd.DataFrame":
    import pandas as pd

    groups = ("params.", "metrics.", "tags.")
    names = dict.fromkeys(name for record in records for name in record)
    ordered = [name for group in groups for name in names if name.startswith(group)]
    columns = [*COLUMNS, *ordered]
    series = {name: _column(name, [record.get(name) for record in records]) for name in columns}
    return pd.DataFrame(series, columns=columns)


def _column(name: str, values: list[Any]) -> "pd.Series[Any]":
    """The values of a column with the type that holds them all."""
    import pandas as pd

    if name in COLUMNS:
        return pd.Series(values, dtype=COLUMNS[name])
    if name.startswith("metrics."):
        return pd.Series(values, dtype="float64")
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if None in values else "bool")
    if kinds == {int}:
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    if kinds and kinds <= {int, float}:
        return pd.Series(values, dtype="float64")
    return pd.Series(values, dtype="object")
