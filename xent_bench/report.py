"""xent-report: finished runs compared, in the terminal, as a page, or as tables for elsewhere."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xent_bench.failures import Unavailable

if TYPE_CHECKING:
    from xent_bench.comparison import Comparison, Options
    from xent_bench.runs import Run, Unfinished
    from xent_bench.tables import Table

FORMS = ("table", "markdown", "latex", "csv")


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script."""
    options = _parser().parse_args(arguments)
    try:
        report(options)
    except BrokenPipeError:  # xent-report | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError, Unavailable) as error:
        print(f"xent-report: {error}", file=sys.stderr)
        sys.exit(3 if isinstance(error, ValueError) else 4)


def report(options: argparse.Namespace) -> None:
    """All that was asked for, of the runs of a folder or of a store."""
    from xent_bench.comparison import compare  # SciPy and statsmodels take a second or two

    comparisons = compare(*_load(options.runs, options.experiment), _options(options))
    _print(comparisons, options)
    if options.picture is not None:
        from xent_bench.plots import draw

        draw(comparisons, options.picture)
        print(f"Picture: {options.picture}", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        where = _files(options.runs, Path(folder))
        if options.page is not None:
            from xent_bench.page import write_page

            write_page(comparisons, options.page, where)
            print(f"Page: {options.page}", file=sys.stderr)
        if options.publish:
            from xent_bench.publish import publish

            store = options.runs if _is_store(options.runs) else None
            for said in publish(comparisons, store, where):
                print(f"Published: {said}", file=sys.stderr)


def _files(place: str, folder: Path) -> Callable[["Run"], Path]:
    """Of a run the folder with its files; fetched into this folder from a store, once."""
    if not _is_store(place):
        return lambda run: run.folder or folder
    fetched: dict[str, Path] = {}

    def where(run: "Run") -> Path:
        from xent_bench.stored_runs import fetch

        run_id = run.tags["mlflow_run_id"]
        if run_id not in fetched:
            fetched[run_id] = fetch(run, place, folder)
        return fetched[run_id]

    return where


def _load(place: str, experiment: str | None) -> tuple[list["Run"], list["Unfinished"]]:
    if _is_store(place):
        from xent_bench.stored_runs import load_stored_runs  # MLflow takes two seconds

        runs, unfinished = load_stored_runs(place, experiment)
    else:
        from xent_bench.runs import load_runs, load_unfinished

        unfinished = load_unfinished(Path(place))
        runs = load_runs(Path(place))
    if experiment is not None:
        known = {run.experiment for run in runs}
        if experiment not in known:
            names = ", ".join(sorted(known))
            raise ValueError(f"--experiment: expected one of {names}, got {experiment}")
        runs = [run for run in runs if run.experiment == experiment]
        unfinished = [run for run in unfinished if run.experiment == experiment]
    return runs, unfinished


def _is_store(place: str) -> bool:
    return "://" in place


def _options(options: argparse.Namespace) -> "Options":
    from xent_bench.comparison import Options
    from xent_bench.yardsticks import with_ties

    return Options(
        options.baseline, with_ties(dict(options.tie)), options.choose_by, options.rank_anyway
    )


def _print(comparisons: Sequence["Comparison"], options: argparse.Namespace) -> None:
    if options.form == "csv":
        from xent_bench.records import flat
        from xent_bench.tables import print_csv

        print_csv([record for comparison in comparisons for record in flat(comparison)])
        return
    from xent_bench.tables import FORMS as SHOW

    for comparison in comparisons:
        _show(comparison, options, SHOW[options.form])


def _show(
    comparison: "Comparison", options: argparse.Namespace, show: Callable[["Table"], None]
) -> None:
    from xent_bench import report_tables as tables
    from xent_bench.conclusion import conclusion
    from xent_bench.notes import notes
    from xent_bench.tables import TEXT

    if options.trials:
        show(tables.trials(comparison))
        return
    show(tables.levels(comparison))
    if comparison.contrasts:
        show(tables.differences(comparison))
    if options.power is not None:
        show(tables.power(comparison, options.power))
    TEXT[options.form](notes(comparison))
    TEXT[options.form]([f"In short. {conclusion(comparison)}"])


def _tie(text: str) -> tuple[str, float]:
    metric, _, value = text.partition("=")
    return metric, float(value)  # argparse says what is wrong with the rest


def _points(text: str) -> float:
    value = float(text)
    if not 0 < value <= 100:
        raise argparse.ArgumentTypeError(f"expected points above 0, to 100, got {text}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xent-report",
        description="Which loss is better? Finished runs compared: means over seeds with 95 % "
        "intervals, differences to a baseline paired by seed, and what follows from them.",
        epilog="Exit codes: 0 done, 2 bad usage, 3 no runs or unreadable ones, 4 a file or a store "
        "cannot be written or reached.",
    )
    add = parser.add_argument
    add(
        "runs",
        nargs="?",
        default="runs",
        help="a folder with runs (runs), or a store of MLflow: sqlite:///mlflow.db, http://...",
    )
    add("--experiment", metavar="NAME", help="of these runs, those of one experiment")
    add("--format", choices=FORMS, default="table", dest="form", help="table: for the terminal")
    add("--page", type=Path, metavar="FILE", help="also write all of it as one HTML page")
    add("--picture", type=Path, metavar="FILE", help="also draw it, as png, svg or pdf")
    add("--publish", action="store_true", help="also keep the page in MLflow, with a saved view")
    add("--baseline", metavar="LOSS", help="what the others are compared with (ce)")
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
        default="val/top1",
        metavar="METRIC",
        help="score by which the hyper-parameters of each loss are chosen (val/top1)",
    )
    add("--rank-anyway", action="store_true", help="also where one loss was tuned more than others")
    add("--trials", action="store_true", help="instead: every trial, with its score on val")
    add("--power", type=_points, metavar="POINTS", help="also: seeds needed for such a difference")
    return parser
