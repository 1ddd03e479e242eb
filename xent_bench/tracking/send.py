"""xent-sync: what MLflow lacks of the run folders is sent there, exactly once.

Of runs that were trained offline, or while the store was down, or that were killed. No PyTorch.
"""

import sys
from pathlib import Path

from filelock import FileLock, Timeout

from xent_bench.failures import Unavailable
from xent_bench.runs.begun import load_begun
from xent_bench.runs.files import is_pending
from xent_bench.tracking.reach import complaint, said, store_of, tracking_uri

LOCK_PATIENCE = 0.5  # seconds: a reader that asks whether a run still runs takes its lock too


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
        uri = store_of(folder)
        existing_store(uri).get_run((folder / "mlflow_run_id").read_text())
        send(folder, uri)
    except Exception as error:  # of MLflow, of the database below it, of an edited config
        reason = str(error).partition("\n")[0]
        raise Unavailable(
            f"kept in its folder, not added to its MLflow run: {reason}; xent-sync does it later"
        ) from error


def send(folder: Path, uri: str) -> str:
    """The status that it has now; whoever calls holds the folder's lock.

    Unavailable where the store is gone, OSError where it refused.
    """
    from xent_bench.tracking.mirror import OUT_OF_REACH, catch_up, open_view  # MLflow takes seconds

    try:
        return catch_up(open_view(uri, folder, load_begun(folder)), folder)
    except OUT_OF_REACH as error:
        if wrong := complaint(uri):
            raise Unavailable(wrong) from error
        raise OSError(said(uri, error)) from error
