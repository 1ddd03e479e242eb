"""The mark of a run folder of which MLflow may lack something: set and cleared here."""

from pathlib import Path

from xent_bench.run_files import NOT_IN_MLFLOW
from xent_bench.whole_files import write_whole

MEANING = "MLflow may lack something of this run; xent-sync sends it.\n"


def set_pending(folder: Path) -> None:
    """Before anything is sent. Not flushed: what follows is, and an empty one says the same."""
    write_whole(folder / NOT_IN_MLFLOW, MEANING)


def clear_pending(folder: Path) -> None:
    """After everything is sent; a cut of the power may bring it back, which does no harm."""
    (folder / NOT_IN_MLFLOW).unlink(missing_ok=True)
