"""The files in a run's folder by which others judge how it stands."""

import json
from pathlib import Path
from typing import Any

from xent_bench.failures import DataError

RESULT = "result.json"  # moved in when the run is done
NET = "net.json"  # what the net was trained with, beside a result
WEIGHTS = "weights.pt"  # where they are asked for
LOCK = ".lock"  # held while a process trains it
LOG = "log.txt"  # what a run of a sweep prints
JOB = "slurm_job"  # the id of the SLURM job that it was last given
NOT_IN_MLFLOW = "not_in_mlflow"  # while MLflow may lack something of the folder


def has_result(folder: Path) -> bool:
    """Whether it was trained and evaluated."""
    return (folder / RESULT).exists()


def load_result(folder: Path) -> dict[str, Any]:
    """What it holds; a DataError if that is damaged, an OSError if nothing can be read."""
    file = folder / RESULT
    try:
        found: dict[str, Any] = json.loads(file.read_text())
        found["metrics"].keys()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"cannot read {file}, delete it to evaluate again: {error!r}") from error
    return found


def is_pending(folder: Path) -> bool:
    """Whether MLflow may lack something. Of a folder older than that file, it lacks nothing."""
    return (folder / NOT_IN_MLFLOW).exists()
