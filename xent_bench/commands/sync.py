"""xent-sync: send to MLflow what it lacks of the run folders, exactly once."""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filelock import FileLock, Timeout

from xent_bench.addresses import masked
from xent_bench.arguments import Parser
from xent_bench.exit_codes import Exit, exit_code_of, exit_codes_help, one_line_errors
from xent_bench.failures import Unavailable
from xent_bench.process.streams import replace_what_cannot_be_shown
from xent_bench.runs.begun import load_begun
from xent_bench.runs.files import BEGUN, LOCK, NOT_IN_MLFLOW, RUN_ID, is_pending, run_folders
from xent_bench.tables import n_runs
from xent_bench.tracking.reach import complaint, store_if_begun_there
from xent_bench.tracking.send import LOCK_TIMEOUT, send

if TYPE_CHECKING:
    from xent_bench.tracking.compare import Stored

BUSY, SAME, LEFT = "still running, left alone", "the same", "not mended"


class _Outcome(NamedTuple):
    word: str
    differences: str = ""  # between folder and store, before anything was sent
    code: Exit = Exit.DONE


def main() -> None:
    """Run the console script."""
    replace_what_cannot_be_shown()
    options = _parser().parse_args()
    with one_line_errors("xent-sync"):
        sys.exit(_sync_all(options.runs or [Path("runs")], options.store, check=options.check))


def _sync_all(places: Sequence[Path], store: str | None, *, check: bool) -> int:
    """Send all that MLflow lacks, one line a run, and return the exit code of the first failure.

    A run that fails does not hold up the next.
    """
    absent = [place for place in places if not place.is_dir()]
    if absent:
        print(f"xent-sync: {absent[0]}: no such folder", file=sys.stderr)
        return Exit.DATA
    stores = _Stores(_folders(places), store)
    complaints: set[str] = set()
    counts: Counter[str] = Counter()
    code = Exit.DONE
    for folder in stores.folders:
        outcome = _outcome(folder, stores, complaints, check=check)
        code = code or outcome.code
        counts[outcome.word] += 1
    _print_sum(counts, places, check=check)
    return code


def _outcome(folder: Path, stores: "_Stores", complaints: set[str], *, check: bool) -> "_Outcome":
    """Send what MLflow lacks of a run, print its line, and return what became of it."""
    try:
        outcome = _sync(folder, stores, check=check)
    except (ValueError, OSError, Unavailable) as error:
        # a store's failure once, not for each of its runs
        line = str(error) if isinstance(error, Unavailable) else f"{folder}: {error}"
        if line not in complaints:
            print(f"xent-sync: {masked(line)}", file=sys.stderr)
        complaints.add(line)
        return _Outcome("failed", code=exit_code_of(error))
    if outcome.word != SAME:
        text = "; ".join(filter(None, [outcome.differences, outcome.word]))
        print(f"{folder}: {text}", flush=True)
    return outcome


def _print_sum(counts: Counter[str], places: Sequence[Path], *, check: bool) -> None:
    same = counts.pop(SAME, 0)
    number = counts.total()
    if number:
        sums = ", ".join(f"{count} {word}" for word, count in counts.items())
        print(f"{n_runs(number)}: {sums}")
    if check:
        print(f"{n_runs(number + same)} compared with MLflow, {same} as they should be")
    elif not number:
        print(f"Nothing to send: MLflow lacks no run in {', '.join(map(str, places))}")


def _folders(places: Sequence[Path]) -> list[Path]:
    """The folders of runs, without MLflow's copies of their files."""
    folders = {folder for place in places for folder in run_folders(place, BEGUN, NOT_IN_MLFLOW)}
    return sorted(folder for folder in folders if folder.parent.name != "artifacts")


class _Stores:
    """The stores of the runs, each asked once whether it answers, and read once."""

    def __init__(self, folders: Sequence[Path], typed: str | None) -> None:
        """Note the store that was typed, which holds for all folders."""
        self.folders, self.typed = folders, typed
        self.failures: dict[str, str] = {}  # empty for a store that answers
        self.read: dict[str, Stored] = {}

    def of(self, folder: Path) -> str:
        """The address of a folder's store. Unavailable if it does not answer."""
        uri = _store_for(folder, self.typed)
        if uri not in self.failures:
            self.failures[uri] = complaint(uri)
        if self.failures[uri]:
            raise Unavailable(self.failures[uri])
        return uri

    def stored(self, uri: str) -> "Stored":
        """The runs that the store has in the experiments of all folders."""
        if uri not in self.read:
            from xent_bench.tracking.compare import read_store  # MLflow takes seconds

            experiments = set()
            for folder in self.folders:
                try:
                    experiments.add(load_begun(folder).experiment)
                except ValueError:  # reported when it is this folder's turn
                    continue
            self.read[uri] = read_store(uri, sorted(experiments))
        return self.read[uri]


def _sync(folder: Path, stores: _Stores, *, check: bool) -> _Outcome:
    """Send what MLflow lacks of a run and return what became of it. Unavailable without a store."""
    uri = stores.of(folder)
    try:
        with FileLock(folder / LOCK, timeout=LOCK_TIMEOUT):
            if is_pending(folder) and not check:
                return _Outcome(f"sent, {send(folder, uri)}")
            return _compare_and_send(folder, uri, stores, check=check)
    except Timeout:
        return _Outcome(BUSY)
    except Unavailable as error:  # it was there a moment ago
        stores.failures[uri] = str(error)
        raise


def _compare_and_send(folder: Path, uri: str, stores: _Stores, *, check: bool) -> _Outcome:
    """Send a run that differs in MLflow; one that then still differs is sent anew."""
    from xent_bench.tracking.compare import differences, read_again  # MLflow takes seconds

    lacks = differences(folder, stores.stored(uri), whole=check)
    if not lacks and not is_pending(folder):
        return _Outcome(SAME)
    text = f"missing or different in MLflow: {', '.join(lacks)}" if lacks else ""
    status = send(folder, uri)
    if lacks and differences(folder, read_again(folder, uri), whole=check):
        (folder / RUN_ID).unlink(
            missing_ok=True
        )  # somebody changed in MLflow what cannot be undone
        status = send(folder, uri)
        if left := differences(folder, read_again(folder, uri), whole=check):
            return _Outcome(LEFT, ", ".join(left), Exit.NOT_AS_EXPECTED)
    return _Outcome(f"sent, {status}", text)


def _store_for(folder: Path, store: str | None) -> str:
    """Return the store that was typed, else the one that the run's config names."""
    if store is not None:
        return store
    return store_if_begun_there(folder)


def _parser() -> Parser:
    parser = Parser(
        prog="xent-sync",
        description="Send to MLflow what it lacks of run folders: runs that were trained offline, "
        "or while the store was down, or that were killed, or deleted in MLflow, or all of them if "
        "the store is a new one. Nothing is sent twice, and runs that still run are left alone.",
        epilog=exit_codes_help(Exit.NOT_AS_EXPECTED, Exit.USAGE, Exit.DATA, Exit.UNAVAILABLE),
    )
    parser.add_argument(
        "runs",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="a run's folder, or one above it (default: runs)",
    )
    parser.add_argument(
        "--store",
        metavar="URI",
        help="the store to send to (default: each run's machine.tracking, if you have named that "
        "store yourself when you trained)",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="compare every point of the curves and every file too, and mend what differs; exit "
        "code 1 if something cannot be mended",
    )
    return parser
