"""The files in a run's folder by which others judge how it stands."""

from pathlib import Path

RESULT = "result.json"  # moved in when the run is done
WEIGHTS = "weights.pt"  # where they are asked for
NOT_IN_MLFLOW = "not_in_mlflow"  # while MLflow may lack something of the folder


def has_result(folder: Path) -> bool:
    """Whether it was trained and evaluated."""
    return (folder / RESULT).exists()


def is_pending(folder: Path) -> bool:
    """Whether MLflow may lack something. Of a folder older than that file, it lacks nothing."""
    return (folder / NOT_IN_MLFLOW).exists()
