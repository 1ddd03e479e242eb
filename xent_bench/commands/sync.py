"""xent-sync: what MLflow lacks of the run folders is sent there, exactly once."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from xent_bench.failures import Unavailable
from xent_bench.runs.files import NOT_IN_MLFLOW, is_pending
from xent_bench.tracking.reach import complaint, store_of, tracking_uri
from xent_bench.tracking.send import LOCK_PATIENCE, send

BUSY, DONE = "still running, left alone", "sent before"


def main() -> None:
    """The console script."""
    options = _parser().parse_args()
    try:
        code = _sync_all(options.runs or [Path("runs")], options.store)
    except Unavailable as error:
        print(f"xent-sync: {error}", file=sys.stderr)
        code = 4
    except BrokenPipeError:  # xent-sync | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except KeyboardInterrupt:
        print("Interrupted. The same command goes on from here.")
        code = 130
    sys.exit(code)


def _sync_all(places: Sequence[Path], store: str | None) -> int:
    """A line a run, of which one that fails does not hold up the next; the first failure's code."""
    absent = [place for place in places if not place.is_dir()]
    if absent:
        print(f"xent-sync: {absent[0]}: no such folder", file=sys.stderr)
        return 3
    folders = sorted({file.parent for place in places for file in place.rglob(NOT_IN_MLFLOW)})
    asked: dict[str, str] = {}
    complaints: set[str] = set()
    told: Counter[str] = Counter()
    code = 0
    for folder in folders:
        try:
            outcome = _sync(folder, store, asked)
        except (ValueError, OSError, Unavailable) as error:
            outcome = "failed"
            code = code or (3 if isinstance(error, ValueError) else 4)
            # of a store once, not for each of its runs
            line = str(error) if isinstance(error, Unavailable) else f"{folder}: {error}"
            if line not in complaints:
                print(f"xent-sync: {line}", file=sys.stderr)
            complaints.add(line)
        else:
            print(f"{folder}: {outcome}", flush=True)
        told[outcome] += 1
    if folders:
        sums = ", ".join(f"{number} {outcome}" for outcome, number in told.items())
        print(f"{len(folders)} run{'s' * (len(folders) > 1)}: {sums}")
    else:
        print(f"Nothing to send: MLflow lacks no run in {', '.join(map(str, places))}")
    return code


def _sync(folder: Path, store: str | None, asked: dict[str, str]) -> str:
    """What became of it. Unavailable where the store is not there; `asked`: what is wrong with it,
    by its address, or nothing.
    """
    uri = _store_for(folder, store)
    if uri not in asked:
        asked[uri] = complaint(uri)
    if asked[uri]:
        raise Unavailable(asked[uri])
    try:
        with FileLock(folder / ".lock", timeout=LOCK_PATIENCE):
            # another xent-sync may have been faster
            return f"sent, {send(folder, uri)}" if is_pending(folder) else DONE
    except Timeout:
        return BUSY
    except Unavailable as error:  # it has gone since
        asked[uri] = str(error)
        raise


def _store_for(folder: Path, store: str | None) -> str:
    """Return the store that was typed, else the one that the run's config names."""
    if store is not None:
        return store
    was_configured = (folder / "config.yaml").exists()  # not where it was killed before that
    uri = store_of(folder) if was_configured else tracking_uri(None)
    was_begun_there = (folder / "mlflow_run_id").exists()
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xent-sync",
        description="Send to MLflow what it lacks of run folders: of runs that were trained "
        "offline, or while the store was down, or that were killed. What is there is not sent "
        "again; runs that still run are left alone.",
        epilog="Exit codes: 0 done, 2 bad usage, 3 unreadable runs, 4 the store is not there.",
    )
    parser.add_argument(
        "runs", nargs="*", type=Path, metavar="FOLDER", help="a run's folder, or above; else runs"
    )
    parser.add_argument(
        "--store", metavar="URI", help="where to; else what each run's machine.tracking says"
    )
    return parser
