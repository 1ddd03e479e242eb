"""The store in which MLflow keeps the runs: how it is opened, and safely created."""

from xent_bench.tracking import quiet_mlflow  # noqa: F401, I001  before MLflow is imported

import logging
import math
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from itertools import count
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from xent_bench.addresses import masked, masked_address
from xent_bench.failures import Unavailable
from xent_bench.tracking.moved import settle_artifacts
from xent_bench.tracking.questions import check_sqlite_store, sqlite_file
from xent_bench.tracking.reach import complaint
from xent_bench.tracking.saved_view import TAG as VIEW
from xent_bench.tracking.saved_view import description, view_tag
from xent_bench.tracking.schema import deleted
from xent_bench.tracking.steady_client import SteadyClient

NOTE = "mlflow.note.content"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # not one of language models
REQUEST_TIMEOUT = 8  # seconds that a run waits for a server; a reader may ask for more at a time
LOCKED = "database is locked"  # as SQLite says it
LOCK_TIMEOUT = 120  # seconds: MLflow's migrations on a slow disk
_attempts = count()


def open_store(uri: str, experiment: str, folder: Path) -> tuple[MlflowClient, str]:
    """Open the store and the experiment in it, and create them where they are missing.

    Returns a client of the store and the id of the experiment.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_TIMEOUT))
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # a database's error with its traceback, which it then raises
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # beside the runs; MLflow would put them under whatever directory one happens to be in
    artifacts = (folder.parent / "mlflow").resolve().as_uri()
    if not uri.startswith("sqlite:///"):
        client = SteadyClient(uri)
        is_server = uri.lower().startswith("http")  # it has a place of its own for artifacts
        return client, _experiment_id(client, experiment, None if is_server else artifacts)
    file = sqlite_file(uri)
    # First runs in parallel would race to create the tables, and leave the file broken.
    with FileLock(f"{file}.lock", timeout=LOCK_TIMEOUT):
        if (
            not file.exists() or not file.stat().st_size
        ):  # a kill would leave half of the tables, which MLflow cannot mend
            _create(file)
        settle_artifacts(file)
        client = SteadyClient(uri)
        return client, _experiment_id(client, experiment, artifacts)


def _create(file: Path) -> None:
    """Let MLflow create the tables of a new store, whose file appears whole.

    Where that fails, nothing is left. The caller holds the store's lock.
    """
    _remove_parts(file)  # a killed process left them
    # a new name for each attempt: MLflow keeps its connection to a file that failed
    part = Path(f"{file}.part{next(_attempts)}")
    try:
        MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
        part.chmod(0o600)  # it holds commands, paths and notes: the user may open it to others
        part.rename(file)
    except BaseException:
        _remove_parts(file)
        Path(f"{file}.lock").unlink(missing_ok=True)
        raise


def _remove_parts(file: Path) -> None:
    """Remove unfinished stores and their journals, which SQLite would replay."""
    for part in file.parent.glob(f"{file.name}.part*"):
        part.unlink(missing_ok=True)


def existing_store(uri: str) -> MlflowClient:
    """Open a store that exists. Unavailable where there is none: MLflow would create it empty."""
    shown = masked_address(uri)
    try:
        if uri.startswith("sqlite"):
            if not sqlite_file(uri).is_file():
                raise Unavailable(f"no store at {shown}: expected sqlite:///FILE")
            with closing(sqlite3.connect(sqlite_file(uri))) as base:
                check_sqlite_store(uri, base, ())  # MLflow adds its tables to any database
            settle_artifacts(sqlite_file(uri))
        elif failure := complaint(uri):  # MLflow would try for minutes
            raise Unavailable(failure)
        return SteadyClient(uri)
    except Unavailable:
        raise
    except Exception as error:  # MLflow's or SQLAlchemy's: no such scheme, no database
        reason = masked(str(error).partition("\n")[0])
        if LOCKED in reason:  # it is there, and SQLite has waited 5 s for it
            reason += "; another program writes to it: try again when that has ended"
            raise Unavailable(f"MLflow at {shown}: {reason}") from error
        raise Unavailable(f"no store at {shown}: {reason}") from error


def _experiment_id(client: MlflowClient, name: str, artifacts: str | None) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is not None:
        if experiment.lifecycle_stage == "deleted":
            raise MlflowException(deleted(name, experiment.experiment_id))
        return str(experiment.experiment_id)
    try:
        new_id = str(client.create_experiment(name, artifacts, tags={VIEW: view_tag()} | KIND))
    except MlflowException:  # another process was first, or the answer was lost
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            raise
        new_id = str(experiment.experiment_id)
    client.set_experiment_tag(new_id, NOTE, description(new_id))
    return new_id


def points(metrics: Mapping[str, float], step: int, written: float) -> list[Metric]:
    """Turn the finite metrics into points at a step, written at a time in unix seconds.

    MLflow would draw infinite ones as 1.8e308 and flatten all others. It keeps once a point that
    is sent twice with the same time.
    """
    milliseconds = round(1000 * written)
    return [Metric(k, v, milliseconds, step) for k, v in metrics.items() if math.isfinite(v)]
