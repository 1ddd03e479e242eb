"""Where MLflow keeps the runs: which store, and its safe creation."""

import os
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

DEFAULT_URI = "sqlite:///mlflow.db"


def tracking_uri(configured: str | None) -> str:
    """What machine.tracking says, else MLFLOW_TRACKING_URI, else a file beside the runs."""
    return configured or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def open_store(uri: str | None, experiment: str, folder: Path) -> tuple[MlflowClient, str]:
    """A client of the store, and the id of the experiment in it; both are made if missing."""
    uri = tracking_uri(uri)
    if not uri.startswith("sqlite:///"):
        client = MlflowClient(uri)
        return client, _experiment_id(client, experiment, artifacts=None)
    file = Path(uri.removeprefix("sqlite:///"))
    # First runs in parallel would race to create the tables, and leave the file broken.
    with FileLock(f"{file}.lock"):
        if not file.exists():  # a kill would leave half of the tables, which MLflow cannot mend
            part = Path(f"{file}.part")
            part.unlink(missing_ok=True)
            MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
            part.rename(file)
        client = MlflowClient(uri)
        # beside the runs; MLflow would put them under whatever directory one happens to be in
        artifacts = (folder.parent / "mlflow").resolve().as_uri()
        return client, _experiment_id(client, experiment, artifacts)


def _experiment_id(client: MlflowClient, name: str, artifacts: str | None) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    try:
        return client.create_experiment(name, artifacts)
    except MlflowException:  # another process was first
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)
