"""The registration of a run's net: written as an MLflow model, checked, and sent to a store."""

from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from xent_bench.export.export import Exported, Wanted
from xent_bench.export.mlflow_model import renew_model
from xent_bench.failures import Unavailable
from xent_bench.runs.files import LOCK
from xent_bench.tracking.reach import complaint, store_if_begun_there
from xent_bench.tracking.registry import Registered, check_name, register
from xent_bench.tracking.send import LOCK_TIMEOUT


class Registration(NamedTuple):
    """A request: the name of the model, an alias for the version, and the store."""

    name: str
    alias: str | None = None
    store: str | None = None  # None: that of the run


def register_run(
    run: Path, wanted: Wanted, registration: Registration
) -> tuple[Registered, Exported]:
    """Register the net of a finished run as a version of a model, with the check of its file.

    The model stays in the run's folder, of which the store is a view. Errors are those of `export`
    and of `register`; what can be refused is refused before the net is read.
    """
    check_name(registration.name, registration.alias)
    store = registration.store or store_if_begun_there(run)
    if failure := complaint(store):
        raise Unavailable(failure)
    try:
        with FileLock(run / LOCK, timeout=LOCK_TIMEOUT):
            exported = renew_model(run, wanted)
            version = register(run, store, registration.name, registration.alias)
    except Timeout:
        raise Unavailable(f"{run}: another process works on this run; try again") from None
    return version, exported
