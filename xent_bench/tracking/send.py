"""Uploads of run folders to MLflow, after a run was trained offline, killed, or cut off from it.

No PyTorch.
"""

import shlex
import sys
from pathlib import Path

from filelock import FileLock, Timeout

from xent_bench.addresses import masked
from xent_bench.failures import Unavailable
from xent_bench.runs.begun import load_begun
from xent_bench.runs.files import LOCK, RUN_ID, is_pending
from xent_bench.runs.reading import read_text
from xent_bench.tracking.again import again_if_cut
from xent_bench.tracking.reach import complaint, one_line, store_of, tracking_uri

LOCK_TIMEOUT = 0.5  # seconds: a reader that asks whether a run still runs takes its lock too


def send_if_pending(folder: Path, configured: str | None) -> None:
    """Send what MLflow may lack of a run that has ended; print a line where it does not answer.

    `configured` is the run's machine.tracking.
    """
    uri = tracking_uri(configured)
    try:
        if failure := complaint(uri):
            raise Unavailable(failure)
        with FileLock(folder / LOCK, timeout=LOCK_TIMEOUT):
            if is_pending(folder):
                send(folder, uri)
    except Timeout:
        return  # the process that holds it sends
    except (Unavailable, OSError) as error:
        name = load_begun(folder).name
        print(
            f"{name}: {error}; kept in {folder}: xent-sync {shlex.quote(str(folder))} uploads it",
            file=sys.stderr,
        )


def send_added(folder: Path) -> None:
    """Send what was added to a run that MLflow has; the caller holds the folder's lock.

    Unavailable if that fails: there is no such store, or no such run in it.
    """
    from xent_bench.tracking.store import existing_store  # MLflow takes seconds

    try:
        uri = store_of(folder)
        existing_store(uri).get_run(read_text(folder / RUN_ID))
        send(folder, uri)
    except Exception as error:  # MLflow's, its database's, or an edited config's
        reason = masked(str(error).partition("\n")[0])
        raise Unavailable(
            f"kept in its folder, not added to its MLflow run: {reason}; xent-sync does it later"
        ) from error


def send(folder: Path, uri: str) -> str:
    """Send what the store lacks of the folder and return the status that the run has there.

    The caller holds the folder's lock. Unavailable if the store is gone, OSError if it refused.
    """
    from xent_bench.tracking.mirror import (
        OUT_OF_REACH,
        catch_up,
        open_mirror,
    )  # MLflow takes seconds

    try:
        mirror = again_if_cut(lambda: open_mirror(uri, folder, load_begun(folder)))
        return again_if_cut(lambda: catch_up(mirror, folder))
    except OUT_OF_REACH as error:
        if failure := complaint(uri):
            raise Unavailable(failure) from error
        raise OSError(one_line(uri, error)) from error
