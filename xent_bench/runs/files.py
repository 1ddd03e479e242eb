"""Names of the files in a run's folder, and the mark of one that MLflow may lack."""

from pathlib import Path
from typing import Any

from xent_bench.runs.reading import sealed
from xent_bench.runs.whole_files import write_lasting, write_whole

PENDING_TEXT = "MLflow may lack something of this run; xent-sync sends it.\n"
# errors of reading a file that was damaged or edited
DAMAGED = (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError)

CONFIG = "config.yaml"  # the whole config, resolved
BEGUN = "begun.json"  # how the run began, and why it ended where it has no result
IMAGES = "images.json"  # the account of its images
NOISE = "noise.json"  # the account of its noisy labels, where it has any
TRANSITIONS = "noise.csv"  # how often each class of train became each
AT_START = (CONFIG, IMAGES, NOISE, TRANSITIONS)  # written before training
CURVES = "curves.json"  # what was measured after each epoch
PREDICTIONS = "predictions.npz"  # outputs, labels and ids of calib and test
SHIFT = "shift.npz"  # outputs on corrupted images of test, where they were asked for
FOREIGN = "foreign.npz"  # outputs on images of other sets, likewise
CLASSES = "classes.csv"  # recalls, where classes of train differ in size
CLASS_SCORES = (
    "class_scores.csv"  # scores of every class, where xent-rescore RUN --classes was typed
)
PICTURES = "pictures"  # a folder
RUN_ID = "mlflow_run_id"  # of the run in MLflow that mirrors the folder
RESULT = "result.json"  # moved in when the run is done
NET = "net.json"  # what the net was trained with, beside a result
WEIGHTS = "weights.pt"  # with machine.save_weights
MODEL = "mlflow_model"  # a folder: the calibrated net as an MLflow model, with machine.log_model
LOCK = ".lock"  # held by the process that trains the run
LOG = "log.txt"  # what a run of a sweep prints
JOB = "slurm_job"  # the id of the SLURM job that the run was last given to
NOT_IN_MLFLOW = "not_in_mlflow"  # while MLflow may lack something of the folder


def run_folders(place: Path, *names: str) -> list[Path]:
    """List the folders at or below a place that hold a file of one of these names, sorted.

    Hidden folders, such as that of removed runs, are left out.
    """
    folders = {file.parent for name in names for file in place.rglob(name)}
    return sorted(
        folder
        for folder in folders
        if not any(part.startswith(".") for part in folder.relative_to(place).parts)
    )


def has_result(folder: Path) -> bool:
    """Whether the run was trained and evaluated."""
    return (folder / RESULT).exists()


def is_pending(folder: Path) -> bool:
    """Whether MLflow may lack something of the folder."""
    return (folder / NOT_IN_MLFLOW).exists()


def set_pending(folder: Path) -> None:
    """Mark the folder, before anything is sent.

    The mark is not flushed to the disk: what follows is, and an empty file marks it too.
    """
    write_whole(folder / NOT_IN_MLFLOW, PENDING_TEXT)


def clear_pending(folder: Path) -> None:
    """Remove the mark, after everything is sent; if a power cut brings it back, no harm is done."""
    (folder / NOT_IN_MLFLOW).unlink(missing_ok=True)


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a JSON file with its checksum; it appears whole and is flushed to the disk."""
    write_lasting(file, sealed(content, indent=2))


def no_folder(place: Path) -> str:
    """Say why a place is no folder of runs: there is none of this name, or it is a file."""
    return "a file; a store is sqlite:///FILE" if place.is_file() else "no such folder"
