"""Command-line options of xent-report."""

import argparse
from collections.abc import Callable
from math import inf
from pathlib import Path

from xent_bench.arguments import Parser
from xent_bench.comparison.yardsticks import CHOICES, CHOOSE_BY, METRICS, PRIMARY, YARDSTICKS
from xent_bench.exit_codes import Exit, exit_codes_help
from xent_bench.runs.trusted import add_trust

FORMS = ("table", "markdown", "latex", "csv")


def parser() -> Parser:
    """Build the parser of xent-report's command line."""
    report_parser = Parser(
        prog="xent-report",
        description="Which loss is better? Compares finished runs: means over seeds with 95 % "
        "intervals, differences to a baseline paired by seed, and a conclusion.",
        epilog=exit_codes_help(Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE),
    )
    add = report_parser.add_argument
    add(
        "runs",
        nargs="*",
        default=["runs"],
        metavar="RUNS",
        help="a folder with runs (runs), or an MLflow store: sqlite:///mlflow.db, http://...; "
        "of several, losses are also ranked over the tasks",
    )
    add(
        "--predictions",
        nargs="+",
        metavar="FILE",
        help="compare models by these .npz of their predictions instead, of runs or your own with "
        "logits and target; NAME=FILE,FILE: several seeds of a model",
    )
    add("--experiment", metavar="NAME", help="compare only the runs of this experiment")
    add(
        "--tasks",
        action="store_true",
        help="rank losses over the tasks (data and net) of one folder or store, too",
    )
    add("--format", choices=FORMS, default="table", dest="form", help="table is for the terminal")
    add(
        "--page",
        type=_file("html", "htm"),
        metavar="FILE",
        help="also write the whole report as one HTML page",
    )
    add(
        "--picture",
        type=_file("png", "svg", "pdf"),
        metavar="FILE",
        help="also draw the comparison, as png, svg or pdf",
    )
    add(
        "--publish",
        action="store_true",
        help="also store the page in MLflow, with a saved view of its runs",
    )
    add("--legend", action="store_true", help="also explain every mark and column of the tables")
    add("--baseline", metavar="LOSS", help="loss that the others are compared with (ce)")
    add(
        "--primary",
        choices=[by.key for by in YARDSTICKS],
        metavar="METRIC",
        help="metric that decides which loss is better; others are secondary (what the sweep "
        f"declared, or {PRIMARY})",
    )
    add(
        "--tie",
        type=_tie,
        action="append",
        default=[],
        metavar="METRIC=D",
        help="count differences below D as ties: top1=0.3 (points)",
    )
    add(
        "--choose-by",
        default="",
        choices=CHOICES,
        metavar="METRIC",
        help="score by which the hyper-parameters of each loss are chosen (that of the search, "
        f"else {CHOOSE_BY})",
    )
    add(
        "--rank-anyway", action="store_true", help="rank losses even if they were not tuned equally"
    )
    add_trust(report_parser)
    add("--trials", action="store_true", help="show every trial with its score on val instead")
    add(
        "--power",
        type=_points,
        metavar="POINTS",
        help="show instead how many seeds a difference of POINTS in top-1 needs",
    )
    return report_parser


def _file(*suffixes: str) -> Callable[[str], Path]:
    """Build the argparse type of a file to write, whose name must end in one of these suffixes.

    It refuses a folder, a device, and a file whose parent folder does not exist.
    """

    def checked(text: str) -> Path:
        file = Path(text)
        if file.suffix[1:] not in suffixes:
            raise argparse.ArgumentTypeError(
                f"expected a name that ends in .{' or .'.join(suffixes)}, got {text!r}"
            )
        if not file.parent.is_dir() or (file.exists() and not file.is_file()):
            raise argparse.ArgumentTypeError(f"expected a file in an existing folder, got {text}")
        return file

    return checked


def _tie(text: str) -> tuple[str, float]:
    """Parse METRIC=D, such as top1=0.3, with D in the unit that tables show."""
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
    """Parse a difference in percentage points, above 0 and at most 100."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"expected points above 0 and at most 100, got {text}")
    return value
