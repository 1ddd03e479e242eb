"""xent-sync: send to MLflow what it lacks of the run folders, exactly once."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from xent_bench.arguments import Parser
from xent_bench.exit_codes import Exit, exit_code_of, exit_codes_help, one_line_errors
from xent_bench.failures import Unavailable
from xent_bench.runs.files import LOCK, NOT_IN_MLFLOW, RUN_ID, is_pending
from xent_bench.tracking.reach import complaint, store_if_configured
from xent_bench.tracking.send import LOCK_TIMEOUT, send

BUSY, DONE = "still running, left alone", "sent before"


def main() -> None:
    """Run the console script."""
    options = _parser().parse_args()
    with one_line_errors("xent-sync"):
        sys.exit(_sync_all(options.runs or [Path("runs")], options.store))


def _sync_all(places: Sequence[Path], store: str | None) -> int:
    """Send all runs, one line each, and return the exit code of the first failure.

    A run that fails does not hold up the next.
    """
    absent = [place for place in places if not place.is_dir()]
    if absent:
        print(f"xent-sync: {absent[0]}: no such folder", file=sys.stderr)
        return Exit.DATA
    folders = sorted({file.parent for place in places for file in place.rglob(NOT_IN_MLFLOW)})
    failures: dict[str, str] = {}
    complaints: set[str] = set()
    counts: Counter[str] = Counter()
    code = Exit.DONE
    for folder in folders:
        try:
            outcome = _sync(folder, store, failures)
        except (ValueError, OSError, Unavailable) as error:
            outcome = "failed"
            code = code or exit_code_of(error)
            # a store's failure once, not for each of its runs
            line = str(error) if isinstance(error, Unavailable) else f"{folder}: {error}"
            if line not in complaints:
                print(f"xent-sync: {line}", file=sys.stderr)
            complaints.add(line)
        else:
            print(f"{folder}: {outcome}", flush=True)
        counts[outcome] += 1
    if folders:
        sums = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
        print(f"{len(folders)} run{'s' * (len(folders) > 1)}: {sums}")
    else:
        print(f"Nothing to send: MLflow lacks no run in {', '.join(map(str, places))}")
    return code


def _sync(folder: Path, store: str | None, failures: dict[str, str]) -> str:
    """Send a run and return what became of it. Unavailable if the store is not there.

    `failures` holds for the address of each store asked so far why it does not answer, or an empty
    text.
    """
    uri = _store_for(folder, store)
    if uri not in failures:
        failures[uri] = complaint(uri)
    if failures[uri]:
        raise Unavailable(failures[uri])
    try:
        with FileLock(folder / LOCK, timeout=LOCK_TIMEOUT):
            # another xent-sync may have been faster
            return f"sent, {send(folder, uri)}" if is_pending(folder) else DONE
    except Timeout:
        return BUSY
    except Unavailable as error:  # it was there a moment ago
        failures[uri] = str(error)
        raise


def _store_for(folder: Path, store: str | None) -> str:
    """Return the store that was typed, else the one that the run's config names."""
    if store is not None:
        return store
    uri = store_if_configured(folder)
    was_begun_there = (folder / RUN_ID).exists()
    if (
        was_begun_there
        and uri.startswith("sqlite:///")
        and not Path(uri.removeprefix("sqlite:///")).exists()
    ):
        raise Unavailable(
            f"no store at {uri}, where it was begun: type this where it was trained, or name the "
            "store by --store"
        )
    return uri


def _parser() -> Parser:
    parser = Parser(
        prog="xent-sync",
        description="Send to MLflow what it lacks of run folders: runs that were trained offline, "
        "or while the store was down, or that were killed. Nothing is sent twice, and runs that "
        "still run are left alone.",
        epilog=exit_codes_help(Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE),
    )
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="a run's folder, or one above it (default: runs)",
    )
    parser.add_argument(
        "--store", metavar="URI", help="the store to send to (default: each run's machine.tracking)"
    )
    return parser
