"""Where MLflow keeps the runs: which store, its safe creation, and what is added to a run later."""

import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read when mlflow is imported
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# The default hangs for minutes, and a request that is retried unseen may create a run twice
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

import logging
import math
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException

from xent_bench.failures import Unavailable
from xent_bench.tracking.saved_view import TAG as VIEW
from xent_bench.tracking.saved_view import description, view_tag

NOTE = "mlflow.note.content"
PATIENCE = 8  # seconds that a run waits for a server; a reader may ask for more at a time
LOCK_PATIENCE = 120  # seconds: MLflow's migrations on a slow disk


def open_store(uri: str, experiment: str, folder: Path) -> tuple[MlflowClient, str]:
    """A client of the store, and the id of the experiment in it; both are made if missing."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(PATIENCE))
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    # a database's error with its traceback, which it then raises
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    # beside the runs; MLflow would put them under whatever directory one happens to be in
    artifacts = (folder.parent / "mlflow").resolve().as_uri()
    if not uri.startswith("sqlite:///"):
        client = MlflowClient(uri)
        own = None if uri.startswith("http") else artifacts  # a server has its own
        return client, _experiment_id(client, experiment, own)
    file = Path(uri.removeprefix("sqlite:///"))
    # First runs in parallel would race to create the tables, and leave the file broken.
    with FileLock(f"{file}.lock", timeout=LOCK_PATIENCE):
        if not file.exists():  # a kill would leave half of the tables, which MLflow cannot mend
            _make(file)
        client = MlflowClient(uri)
        return client, _experiment_id(client, experiment, artifacts)


def _make(file: Path) -> None:
    """Let MLflow create the tables of a new store, whose file appears whole.

    Where that fails, nothing is left. The caller holds the store's lock.
    """
    part = Path(f"{file}.part")
    _remove(part)  # a killed process left it
    try:
        MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
        part.rename(file)
    except BaseException:
        _remove(part)
        Path(f"{file}.lock").unlink(missing_ok=True)
        raise


def _remove(part: Path) -> None:
    """Remove an unfinished store and its journal, which SQLite would replay."""
    Path(f"{part}-journal").unlink(missing_ok=True)
    part.unlink(missing_ok=True)


def existing_store(uri: str) -> MlflowClient:
    """A client of a store, Unavailable where there is none: MLflow would make an empty one."""
    if uri.startswith("sqlite"):
        prefix, _, file = uri.partition(":///")
        if not (prefix and file and Path(file).is_file()):
            raise Unavailable(f"no store at {uri}: expected sqlite:///FILE")
    try:
        return MlflowClient(uri)
    except Exception as error:  # of MLflow, of SQLAlchemy: no such scheme, no database
        raise Unavailable(f"no store at {uri}: {str(error).partition(chr(10))[0]}") from error


def _experiment_id(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        made = str(client.create_experiment(name, artifacts, tags={VIEW: view_tag()}))
        client.set_experiment_tag(made, NOTE, description(made))
        return made
    except MlflowException:  # another process was first
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def points(metrics: Mapping[str, float], step: int, written: float) -> list[Metric]:
    """Of those that are finite: MLflow would draw the others as 1.8e308 and flatten the rest.

    `written` when, in unix seconds: a point that is sent twice with one time is kept once.
    """
    when = round(1000 * written)
    return [Metric(k, v, when, step) for k, v in metrics.items() if math.isfinite(v)]
