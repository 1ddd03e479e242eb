"""xent-rescore: every metric of finished runs, computed again from their stored predictions."""

import argparse
import os
import sys
from pathlib import Path

from xent_bench.evaluation.rescore import Rescored, rescore
from xent_bench.failures import Unavailable
from xent_bench.metrics.reported import PREFIXES
from xent_bench.runs.files import RESULT
from xent_bench.runs.result import Run


def main() -> None:
    """The console script."""
    options = _parser().parse_args()
    try:
        code = _rescore_all(options)
    except BrokenPipeError:  # xent-rescore | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


def _rescore_all(options: argparse.Namespace) -> int:
    """A line a run, of which one that fails does not hold up the next; the first failure's code."""
    codes = []
    folders = [folder for place in options.runs for folder in _run_folders(place)]
    for folder in folders:
        try:
            found = rescore(folder, options.calibrator, pictures=options.pictures)
        except (ValueError, OSError, Unavailable) as error:
            print(f"xent-rescore: {folder}: {error}", file=sys.stderr)
            codes.append(3 if isinstance(error, ValueError) else 4)
            continue
        print(f"{folder}: {_said(found)}", flush=True)
        codes.append(int(bool(found.changed)))
        if len(folders) == 1:
            _show(found.run)
    if not folders:
        places = ", ".join(map(str, options.runs))
        print(f"xent-rescore: no finished run, with a result.json, in {places}", file=sys.stderr)
        codes.append(3)
    return next((code for code in codes if code), 0)


def _show(run: Run) -> None:
    from xent_bench.evaluation.scorecard import scorecard
    from xent_bench.tables import print_table

    print_table(scorecard(run))


def _run_folders(place: Path) -> list[Path]:
    """The run's folder, or all below it."""
    return [file.parent for file in sorted(place.rglob(RESULT))]


def _said(found: Rescored) -> str:
    if found.changed:
        return f"{len(found.changed)} numbers are NOT as logged: {_names(found.changed)}"
    parts = [f"{found.same} numbers as logged"]
    if found.rounded:
        parts.append(f"{len(found.rounded)} of them but for rounding")
    if found.added:
        parts.append(f"{len(found.added)} added")
    if found.retired:
        parts.append(f"{len(found.retired)} computed no more: {_names(found.retired)}")
    return ", ".join(parts)


def _names(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + ", ..." * (len(keys) > 3)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xent-rescore",
        description="Compute every metric of finished runs again from their stored predictions; "
        "compare with what was logged, and add what is new. Of a single run, show all of them.",
        epilog="Exit codes: 0 done, 1 a number is not as logged, 2 bad usage, 3 unreadable runs, "
        "4 MLflow or the folder cannot be written to.",
    )
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="a run's folder, or above"
    )
    parser.add_argument(
        "--calibrator",
        action="append",
        choices=[name for name in PREFIXES if name != "temperature"],
        default=[],
        help="report also what this gives, fitted on calib",
    )
    parser.add_argument("--pictures", action="store_true", help="draw its pictures again")
    return parser
