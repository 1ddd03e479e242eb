"""Finished runs, read from their folders without torch or MLflow, so that a report starts fast."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from xent_bench.failures import DataError
from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.files import DAMAGED, RESULT, RUN_ID, no_folder, run_folders, write_json
from xent_bench.runs.reading import read_sealed, read_text

RUN_IDS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,255}")  # MLflow's rule
EPOCHS_TRAINED = "epochs_trained"  # a tag of runs whose training val may end early
LARGEST = 1e100  # a finite metric beyond this is damaged


class DamagedRunId(DataError):
    """The file that names the run in MLflow is damaged, not the result beside it."""


@dataclass(frozen=True)
class Run:
    """The content of `result.json`: one run that was trained and evaluated."""

    name: str
    experiment: str
    params: dict[str, Any]
    metrics: dict[str, float]
    tags: dict[str, str]
    command: str
    n_test: int
    seconds: float  # all epochs, and the rest of the process that ended the run
    examples_per_second: float | None = None  # in training, with validation
    folder: Path | None = field(default=None, compare=False)  # where it was read from

    def content(self) -> dict[str, Any]:
        """Return the fields of the run as `result.json` holds them."""
        content = asdict(self)
        del content["folder"]
        return content


REQUIRED = [entry.name for entry in fields(Run) if entry.default is MISSING]


def load_runs(folder: Path) -> list[Run]:
    """Load every finished run in the folder or below it, in the order of their paths.

    A ValueError if there is none, or if a result cannot be read: a comparison with a hole in it
    that nobody mentions is worse than none.
    """
    if not folder.is_dir():
        raise ValueError(f"expected a folder of runs, got {folder}: {no_folder(folder)}")
    files = [run_folder / RESULT for run_folder in run_folders(folder, RESULT)]
    if not files:
        begun = load_unfinished(folder)
        ends = "".join(f"; {run.name}: {run.reason} [{run.command}]" for run in begun[:3])
        raise ValueError(f"no finished run in {folder}, {len(begun)} without a result{ends}")
    first_files: dict[tuple[str, str], Path] = {}
    runs = []
    for file in files:
        run = load_run(file)
        twin = first_files.setdefault((run.experiment, run.tags.get("key", str(file))), file)
        if twin != file:
            raise ValueError(f"the same run twice, which would count twice: {twin} and {file}")
        runs.append(run)
    return runs


def load_run(file: Path) -> Run:
    """Read the run in a `result.json`; a DataError unless it holds what a run writes."""
    try:
        run = _run_of(read_sealed(file), file.parent)
        check(run)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    except DamagedRunId:  # the result is whole: nothing is to be evaluated again
        raise
    except DAMAGED as error:
        raise DataError(f"cannot read {file}, delete it to evaluate again: {error}") from error
    return run


def _run_of(content: dict[str, Any], folder: Path) -> Run:
    missing = [name for name in REQUIRED if name not in content]
    if missing:
        raise ValueError(f"expected the fields of a run, got none named {', '.join(missing)}")
    run_id = mlflow_run_id(folder)
    if run_id is not None:
        content["tags"][RUN_ID] = run_id
    return Run(**content | {"folder": folder})


def mlflow_run_id(folder: Path) -> str | None:
    """The id of the folder's run in MLflow, which may come after the result; None without one.

    DamagedRunId if the file holds something else.
    """
    file = folder / RUN_ID
    try:
        return checked_run_id(read_text(file))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DamagedRunId(
            f"cannot read {file}, delete it to have xent-sync write it again: {reason}"
        ) from error


def checked_run_id(text: str) -> str:
    """Return a run's id in MLflow unchanged; a ValueError unless it is one.

    It becomes a part of addresses and of paths.
    """
    if not RUN_IDS.fullmatch(text):
        raise ValueError(f"expected the id of a run in MLflow, got {text!r}"[:200])
    return text


def save_run(run: Run, folder: Path) -> None:
    """Write the run's `result.json`, which appears whole."""
    write_json(folder / RESULT, run.content())


def check(run: Run) -> None:
    """Raise a ValueError unless the run holds what a run writes: somebody may have edited it."""
    _check_mappings(run)
    choices = [run.params.get(key) for key in ("loss", "data", "model")]
    for value in (run.name, run.experiment, run.command, *run.tags.values(), *choices):
        if not isinstance(value, str):
            raise ValueError(f"expected a text, got {value!r}"[:200])
    if not str(run.params.get("seed")).isdecimal():
        raise ValueError(f"expected a seed of 0 or more, got {run.params.get('seed')!r}"[:200])
    counts = {"n_test": run.n_test, "seconds": run.seconds}
    if run.examples_per_second is not None:
        counts["examples_per_second"] = run.examples_per_second
    numbers = run.metrics | counts
    if not _are_plain(numbers.values()):
        _check_numbers(numbers)
    if "test/top1" not in run.metrics or run.n_test < 1:
        raise ValueError("expected test/top1 among its metrics, of one test image at least")


def _check_mappings(run: Run) -> None:
    for name in ("params", "metrics", "tags"):
        if not isinstance(getattr(run, name), dict):
            got = getattr(run, name)
            raise ValueError(f"expected names and values as {name}, got {got!r}"[:200])


def _are_plain(values: Collection[Any]) -> bool:
    """Whether all are numbers of a usual size, told without a loop: sweeps have 1,000 results."""
    if not set(map(type, values)) <= {int, float}:
        return False
    # the sum too, since comparisons with a NaN are false, whichever bound it is held to
    return min(values) >= -LARGEST and max(values) <= LARGEST and not math.isnan(sum(values))


def _check_numbers(numbers: Mapping[str, Any]) -> None:
    for key, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise ValueError(f"expected a number as {key}, got {value!r}"[:200])
        if LARGEST < abs(value) < math.inf:
            raise ValueError(f"expected a number below {LARGEST:g} as {key}, got {value!r}"[:200])
