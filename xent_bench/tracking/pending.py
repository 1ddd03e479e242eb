"""Whether MLflow may lack something of a run folder: a file in it says so while it may."""

from pathlib import Path

from xent_bench.whole_files import write_whole

FILE = "not_in_mlflow"
MEANING = "MLflow may lack something of this run; xent-sync sends it.\n"


def is_pending(folder: Path) -> bool:
    """A run folder that is older than this file has none, and lacks nothing."""
    return (folder / FILE).exists()


def set_pending(folder: Path) -> None:
    """Before anything is sent. Not flushed: what follows is, and an empty one says the same."""
    write_whole(folder / FILE, MEANING)


def clear_pending(folder: Path) -> None:
    """After everything is sent; a cut of the power may bring it back, which does no harm."""
    (folder / FILE).unlink(missing_ok=True)
