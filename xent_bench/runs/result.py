"""Finished runs, kept in their folders. No torch, no MLflow: a report starts at once."""

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.files import DAMAGED, RESULT, write_json

LARGEST = 1e100  # of a metric that is one


@dataclass(frozen=True)
class Run:
    """What `result.json` holds of one trained run."""

    name: str
    experiment: str
    params: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]
    command: str
    n_test: int
    seconds: float  # of all its epochs, and of the process that ended it
    examples_per_second: float | None = None  # in training, validation included
    folder: Path | None = field(default=None, compare=False)  # where it was read from


def load_runs(folder: Path) -> list[Run]:
    """Every finished run in the folder or below it, in the order of their paths.

    A ValueError if there is none, or if a result cannot be read: a comparison with a hole in it
    that nobody mentions is worse than none.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of runs, got {folder}: no such folder")
    files = sorted(folder.rglob(RESULT))
    if not files:
        begun = load_unfinished(folder)
        ends = "".join(f"; {run.name}: {run.reason} [{run.command}]" for run in begun[:3])
        raise ValueError(f"no finished run in {folder}, {len(begun)} without a result{ends}")
    found: dict[tuple[str, str], Path] = {}
    runs = []
    for file in files:
        run = load_run(file)
        twin = found.setdefault((run.experiment, run.tags.get("key", str(file))), file)
        if twin != file:
            raise ValueError(f"the same run twice, which would count twice: {twin} and {file}")
        runs.append(run)
    return runs


def load_run(file: Path) -> Run:
    """From its `result.json`; a ValueError if that cannot be read."""
    try:
        run = Run(**json.loads(file.read_text()))
        check(run)
        return replace(run, tags=run.tags | _own_id(file.parent), folder=file.parent)
    except DAMAGED as error:
        raise ValueError(f"expected a run's result in {file}: {error}") from error


def _own_id(folder: Path) -> dict[str, str]:
    """Its run in MLflow, which may have come later than its result."""
    file = folder / "mlflow_run_id"
    return {"mlflow_run_id": file.read_text()} if file.exists() else {}


def save_run(run: Run, folder: Path) -> None:
    """Its `result.json`, which appears whole."""
    content = asdict(run)
    del content["folder"]
    write_json(folder / RESULT, content)


def check(run: Run) -> None:
    """That it is what a run writes, where somebody has edited it; a ValueError if not."""
    words = (run.name, run.experiment, run.command, *run.tags.values())
    names = [run.params.get(key) for key in ("loss", "data", "model")]
    for value in (*words, *names):
        if not isinstance(value, str):
            raise ValueError(f"expected a text, got {value!r}"[:200])
    if not str(run.params.get("seed")).isdecimal():
        raise ValueError(f"expected a seed of 0 or more, got {run.params.get('seed')!r}"[:200])
    counts = {"n_test": run.n_test, "seconds": run.seconds}
    speed = {} if run.examples_per_second is None else {"speed": run.examples_per_second}
    for key, value in (run.metrics | counts | speed).items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise ValueError(f"expected a number as {key}, got {value!r}"[:200])
        if LARGEST < abs(value) < math.inf:
            raise ValueError(f"expected a number below {LARGEST:g} as {key}, got {value!r}"[:200])
    if "test/top1" not in run.metrics or run.n_test < 1:
        raise ValueError("expected test/top1 among its metrics, of one test image at least")
