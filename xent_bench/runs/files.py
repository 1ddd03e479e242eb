"""The files in a run's folder by which others judge how it stands."""

import json
from pathlib import Path
from typing import Any

from xent_bench.runs.whole_files import write_lasting, write_whole

MEANING = "MLflow may lack something of this run; xent-sync sends it.\n"

DAMAGED = (OSError, AttributeError, TypeError, ValueError, RecursionError)

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


def is_pending(folder: Path) -> bool:
    """Whether MLflow may lack something. Of a folder older than that file, it lacks nothing."""
    return (folder / NOT_IN_MLFLOW).exists()


def set_pending(folder: Path) -> None:
    """Before anything is sent. Not flushed: what follows is, and an empty one says the same."""
    write_whole(folder / NOT_IN_MLFLOW, MEANING)


def clear_pending(folder: Path) -> None:
    """After everything is sent; a cut of the power may bring it back, which does no harm."""
    (folder / NOT_IN_MLFLOW).unlink(missing_ok=True)


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a JSON file that appears whole and is flushed to the disk."""
    write_lasting(file, json.dumps(content, indent=2, default=str))
