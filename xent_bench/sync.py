"""xent-sync: what MLflow lacks of the run folders is sent there, exactly once.

Of runs that were trained offline, or while the store was down, or that were killed. No PyTorch.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import OmegaConf

from xent_bench.failures import Unavailable
from xent_bench.run_files import NOT_IN_MLFLOW, is_pending
from xent_bench.runs import load_begun
from xent_bench.tracking.reach import complaint, said, tracking_uri

BUSY, DONE = "still running, left alone", "sent before"
LOCK_PATIENCE = 0.5  # seconds: a reader that asks whether a run still runs takes its lock too


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


def bring(folder: Path, uri: str | None) -> None:
    """Send a run that is done; where the store does not answer, say so."""
    place = tracking_uri(uri)
    try:
        if wrong := complaint(place):
            raise Unavailable(wrong)
        with FileLock(folder / ".lock", timeout=LOCK_PATIENCE):
            if is_pending(folder):
                send(folder, place)
    except Timeout:
        return  # it is somebody else's to send
    except (Unavailable, OSError) as error:
        name = load_begun(folder).name
        print(f"{name}: {error}; kept in {folder}: xent-sync {folder} uploads it", file=sys.stderr)


def send_added(folder: Path) -> None:
    """What was added to a run that MLflow has. Unavailable if that cannot be: no such store or run;
    whoever calls holds the folder's lock.
    """
    from xent_bench.tracking.store import existing_store  # MLflow takes seconds

    try:
        uri = tracking_uri(OmegaConf.load(folder / "config.yaml").machine.tracking)
        existing_store(uri).get_run((folder / "mlflow_run_id").read_text())
        send(folder, uri)
    except Exception as error:  # of MLflow, of the database below it, of an edited config
        reason = str(error).partition("\n")[0]
        raise Unavailable(
            f"kept in its folder, not added to its MLflow run: {reason}; xent-sync does it later"
        ) from error


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
    uri = _store_of(folder, store)
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


def send(folder: Path, uri: str) -> str:
    """The status that it has now; whoever calls holds the folder's lock.

    Unavailable where the store is gone, OSError where it refused.
    """
    from xent_bench.tracking.view import OUT_OF_REACH, catch_up, open_view  # MLflow takes seconds

    try:
        return catch_up(open_view(uri, folder, load_begun(folder)), folder)
    except OUT_OF_REACH as error:
        if wrong := complaint(uri):
            raise Unavailable(wrong) from error
        raise OSError(said(uri, error)) from error


def _store_of(folder: Path, store: str | None) -> str:
    """What is asked for, else what its config says."""
    if store is not None:
        return store
    file = folder / "config.yaml"
    try:
        uri = tracking_uri(OmegaConf.load(file).machine.tracking if file.exists() else None)
    except Exception as error:  # of YAML, of what an edited file holds
        reason = str(error).partition("\n")[0]
        raise ValueError(f"cannot read {file}: {reason}") from error
    known = (folder / "mlflow_run_id").exists()
    if known and uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
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
