"""What xent-report can be asked for."""

import argparse
from collections.abc import Callable
from math import inf
from pathlib import Path

from xent_bench.comparison.yardsticks import CHOICES, CHOOSE_BY, METRICS, PRIMARY, YARDSTICKS
from xent_bench.exit_codes import Exit, exit_codes_help

FORMS = ("table", "markdown", "latex", "csv")


def parser() -> argparse.ArgumentParser:
    """Of the console script."""
    made = argparse.ArgumentParser(
        prog="xent-report",
        description="Which loss is better? Finished runs compared: means over seeds with 95 % "
        "intervals, differences to a baseline paired by seed, and what follows from them.",
        epilog=exit_codes_help(Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE),
    )
    add = made.add_argument
    add(
        "runs",
        nargs="?",
        default="runs",
        help="a folder with runs (runs), or a store of MLflow: sqlite:///mlflow.db, http://...",
    )
    add("--experiment", metavar="NAME", help="of these runs, those of one experiment")
    add("--format", choices=FORMS, default="table", dest="form", help="table: for the terminal")
    add(
        "--page",
        type=_file("html", "htm"),
        metavar="FILE",
        help="also write all of it as one HTML page",
    )
    add(
        "--picture",
        type=_file("png", "svg", "pdf"),
        metavar="FILE",
        help="also draw it, as png, svg or pdf",
    )
    add("--publish", action="store_true", help="also keep the page in MLflow, with a saved view")
    add("--baseline", metavar="LOSS", help="what the others are compared with (ce)")
    add(
        "--primary",
        default=PRIMARY,
        choices=[by.key for by in YARDSTICKS],
        metavar="METRIC",
        help=f"metric that decides; the others are secondary ({PRIMARY})",
    )
    add(
        "--tie",
        type=_tie,
        action="append",
        default=[],
        metavar="METRIC=D",
        help="differences below D do not matter: top1=0.3 (points)",
    )
    add(
        "--choose-by",
        default=CHOOSE_BY,
        choices=CHOICES,
        metavar="METRIC",
        help=f"score by which the hyper-parameters of each loss are chosen ({CHOOSE_BY})",
    )
    add("--rank-anyway", action="store_true", help="also where losses were not tuned alike")
    add("--trials", action="store_true", help="instead: every trial, with its score on val")
    add(
        "--power",
        type=_points,
        metavar="POINTS",
        help="instead: seeds needed to see such a difference",
    )
    return made


def _file(*suffixes: str) -> Callable[[str], Path]:
    """A file that can be written, or written anew: no folder, no device."""

    def checked(text: str) -> Path:
        file = Path(text)
        if file.suffix[1:] not in suffixes:
            raise argparse.ArgumentTypeError(
                f"expected a name that ends in .{' or .'.join(suffixes)}, got {text!r}"
            )
        if not file.parent.is_dir() or (file.exists() and not file.is_file()):
            raise argparse.ArgumentTypeError(f"expected a file in a folder that is there: {text}")
        return file

    return checked


def _tie(text: str) -> tuple[str, float]:
    metric, _, shown = text.partition("=")
    try:
        margin = float(shown)
    except ValueError:
        margin = 0.0
    if metric not in METRICS or not 0 < margin < inf:
        expected = f"METRIC=D with one of {', '.join(METRICS)} and a number above 0"
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text}")
    return metric, margin


def _points(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"expected points above 0, to 100, got {text}")
    return value
