"""The options of a prediction, and those of them that exclude each other."""

from dataclasses import dataclass
from pathlib import Path

from xent_bench.failures import UsageError


@dataclass(frozen=True)
class Options:
    """The choices of a command line of xent-predict."""

    images: tuple[str, ...] = ()  # files and folders
    data: tuple[str, ...] = ()  # words of a choice of data
    split: str | None = None  # of the run's own data
    top: int = 3
    coverage: float | None = None  # of sets
    abstain: float | None = None  # the least confidence that is answered
    is_ensemble: bool = False
    is_raw: bool = False
    device: str | None = None
    csv: str | None = None  # a file, or '-'
    is_json: bool = False


def refuse_contradictions(options: Options) -> None:
    """UsageError for options that exclude each other, and for a place where no CSV can be."""
    sources = [bool(options.images), bool(options.data), options.split is not None]
    if sum(sources) != 1:
        raise UsageError(
            "expected image files or folders, or data=NAME, or --split test, and one of the three"
            f"{', got none' if not any(sources) else ''}"
        )
    if options.is_ensemble and options.is_raw:
        raise UsageError("--raw: an ensemble averages calibrated probabilities: leave one out")
    if options.is_ensemble and options.coverage is not None:
        raise UsageError(
            "--coverage: val, which chose the loss and perhaps its epoch, is among the images that "
            "no member was trained on, so that no guarantee would be exact: expected one run"
        )
    if options.csv is not None and options.is_json:
        raise UsageError("--csv and --json: expected one of the two")
    if options.csv not in (None, "-"):
        file = Path(str(options.csv))
        if file.is_dir() or not file.parent.is_dir():
            what = "is a folder" if file.is_dir() else f"there is no folder {file.parent}"
            raise UsageError(f"--csv {file}: expected a file to write, but {what}; - is the output")
