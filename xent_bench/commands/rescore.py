"""xent-rescore: compute every metric of finished runs again from their stored predictions."""

import argparse
import sys
from pathlib import Path

from xent_bench.arguments import Parser
from xent_bench.evaluation.rescore import Rescored, rescore
from xent_bench.exit_codes import Exit, exit_code_of, exit_codes_help, one_line_errors
from xent_bench.failures import DataError, Unavailable
from xent_bench.metrics.reported import PREFIXES
from xent_bench.metrics.shifts import SEVERITIES, is_of_shift
from xent_bench.printable import printable
from xent_bench.process.streams import replace_what_cannot_be_shown
from xent_bench.runs.files import FOREIGN, RESULT, SHIFT, run_folders
from xent_bench.runs.result import Run
from xent_bench.runs.trusted import add_trust, import_trusted


def main() -> None:
    """Run the console script."""
    replace_what_cannot_be_shown()
    parser = _parser()
    options = parser.parse_args()
    with one_line_errors("xent-rescore"):
        import_trusted(parser, options)
        if options.costs is not None and not options.costs.is_file():
            raise DataError(f"--costs: no file {options.costs}")
        sys.exit(_rescore_all(options))


def _rescore_all(options: argparse.Namespace) -> int:
    """Rescore all runs, one line each, and return the exit code of the first failure.

    A run that fails does not hold up the next.
    """
    codes = []
    folders = [folder for place in options.runs for folder in _run_folders(place)]
    for folder in folders:
        try:
            _keep_outputs(folder, options)
            rescored = rescore(folder, options.calibrator, pictures=options.pictures)
        except (ValueError, OSError, Unavailable) as error:
            print(printable(f"xent-rescore: {folder}: {error}"), file=sys.stderr)
            codes.append(exit_code_of(error))
            continue
        print(printable(f"{folder}: {_summary(rescored)}"), flush=True)
        codes.append(Exit.NOT_AS_EXPECTED if rescored.changed else Exit.DONE)
        # a table that is asked for stands alone: the scorecard fills a screen
        is_asked = options.classes or options.costs is not None
        if len(folders) == 1 and (options.all or not is_asked):
            _show(rescored.run, with_details=options.all)
        try:
            _show_asked(folder, rescored.run, options)
        except (ValueError, OSError) as error:
            print(printable(f"xent-rescore: {folder}: {error}"), file=sys.stderr)
            codes.append(exit_code_of(error))
    if not folders:
        places = ", ".join(map(str, options.runs))
        print(f"xent-rescore: no finished run, with a result.json, in {places}", file=sys.stderr)
        codes.append(Exit.DATA)
    return next((code for code in codes if code), Exit.DONE)


def _keep_outputs(folder: Path, options: argparse.Namespace) -> None:
    """Compute what the folder lacks of the outputs that the options ask for, with its net."""
    if not options.shift and not options.foreign:
        return
    from xent_bench.shift.keep import complete  # PyTorch takes seconds

    complete(folder, options.shift, options.severities, options.shift_root, options.foreign)


def _show(run: Run, *, with_details: bool) -> None:
    from xent_bench.evaluation.scorecard import scorecard
    from xent_bench.evaluation.subgroup_table import subgroup_table
    from xent_bench.tables import print_table

    print_table(scorecard(run, with_details=with_details))
    if groups := subgroup_table(run):
        print_table(groups)


def _show_asked(folder: Path, run: Run, options: argparse.Namespace) -> None:
    """Print the tables of --classes and of --costs."""
    from xent_bench.tables import print_table

    if options.classes:
        from xent_bench.evaluation.class_table import class_table, classes_of, write_class_scores

        classes = classes_of(folder)
        write_class_scores(classes, folder)
        print_table(class_table(run.name, classes))
    if options.costs is not None:
        from xent_bench.evaluation.cost_words import costs_of_run

        print_table(costs_of_run(folder, run, options.costs, options.calibrator))


def _run_folders(place: Path) -> list[Path]:
    """List the run folders at or below a place."""
    return run_folders(place, RESULT)


def _summary(rescored: Rescored) -> str:
    if rescored.changed:
        return f"{len(rescored.changed)} numbers are NOT as logged: {_names(rescored.changed)}"
    parts = [f"{rescored.same} numbers as logged"]
    if rescored.rounded:
        parts.append(f"{len(rescored.rounded)} of them but for rounding")
    if rescored.added:
        parts.append(f"{len(rescored.added)} added")
    if gone := [key for key in rescored.retired if is_of_shift(key)]:
        parts.append(f"{len(gone)} not checked, since {SHIFT} or {FOREIGN} lacks their outputs")
    if retired := [key for key in rescored.retired if key not in gone]:
        parts.append(f"{len(retired)} no longer computed: {_names(retired)}")
    return ", ".join(parts)


def _names(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + ", ..." * (len(keys) > 3)


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    numbers = [int(word) if word.isdecimal() else 0 for word in text.split(",")]
    if not set(numbers) <= set(SEVERITIES):
        raise argparse.ArgumentTypeError(f"expected numbers from 1 to 5, as in 1,3,5, got {text}")
    return numbers


def _parser() -> Parser:
    parser = Parser(
        prog="xent-rescore",
        description="Compute every metric of finished runs again from their stored predictions; "
        "compare with what was logged, and add what is new. With --shift or --foreign, first "
        "score the trained net on further images. Of a single run, show the metrics, or the tables "
        "of --classes and --costs.",
        epilog=exit_codes_help(Exit.NOT_AS_EXPECTED, Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE),
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, or one above it"
    )
    parser.add_argument(
        "--calibrator",
        action="append",
        choices=[name for name in PREFIXES if name != "temperature"],
        default=[],
        help="also report the metrics after this calibrator, fitted on calib",
    )
    parser.add_argument(
        "--shift",
        type=_words,
        default=[],
        metavar="NAME,...",
        help="also score the net on test's images under these corruptions; all: fifteen of them",
    )
    parser.add_argument(
        "--severities",
        type=_numbers,
        default=list(SEVERITIES),
        metavar="N,...",
        help="of the corruptions, from 1 to 5; without it all five",
    )
    parser.add_argument(
        "--shift-root", metavar="FOLDER", help="read the corrupted images that were published"
    )
    parser.add_argument(
        "--foreign",
        type=_words,
        default=[],
        metavar="SET,...",
        help="also score how the net tells test's images from those of a choice of data, of a "
        "folder of images (./NAME), or from noise",
    )
    add_trust(parser)
    parser.add_argument(
        "--classes",
        action="store_true",
        help="show the scores of each class, the worst first, and write class_scores.csv with all",
    )
    parser.add_argument(
        "--costs",
        type=Path,
        metavar="FILE",
        help="a CSV file with the cost of each answer (columns) to each true class (rows): show "
        "what the answers cost as trained and after scaling",
    )
    parser.add_argument(
        "--all", action="store_true", help="of a single run, show the less important metrics too"
    )
    parser.add_argument(
        "--pictures", action="store_true", help="draw the pictures of the runs again"
    )
    return parser
