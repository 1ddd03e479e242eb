"""The MLflow run that belongs to a run folder: the one begun there, or else a new one."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from mlflow.exceptions import MlflowException

from xent_bench.runs.files import RUN_ID
from xent_bench.runs.whole_files import write_lasting

OWNER = "mlflow_owner"
LONGEST_TAG = 8000  # MLflow cuts a tag that is added, but not one that a run is created with


class OwnRun(NamedTuple):
    """An MLflow run and what it has already."""

    id: str
    artifacts: str  # the address of the folder for its files
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    written: set[tuple[str, int]]  # key and step of each point
    has_dataset: bool = False


def own_run(
    client: MlflowClient,
    experiment_id: str,
    folder: Path,
    name: str,
    tags: Mapping[str, str],
    started: float,
) -> OwnRun:
    """Find the MLflow run of the folder, or create it.

    A new one has the status RUNNING since `started`, in unix seconds, and the tags.
    """
    file, owner_file = folder / RUN_ID, folder / OWNER
    begun = _stored(client, file.read_text()) if file.exists() else None
    if begun is not None:
        return _continued(client, begun)
    # A process that is killed after create_run and before it notes the id leaves a run that only
    # the owner tag identifies, whatever machine the next process runs on.
    was_tried = owner_file.exists()
    owner = owner_file.read_text() if was_tried else str(uuid.uuid4())
    orphan = _orphan(client, experiment_id, owner) if was_tried else None
    write_lasting(owner_file, owner)
    first_tags = {key: value[:LONGEST_TAG] for key, value in tags.items()} | {"owner": owner}
    run = orphan or client.create_run(
        experiment_id, start_time=int(1000 * started), run_name=name, tags=first_tags
    )
    write_lasting(file, run.info.run_id)
    owner_file.unlink()
    if orphan is not None:
        return _continued(client, orphan)
    run_id, artifacts = str(run.info.run_id), str(run.info.artifact_uri)
    return OwnRun(run_id, artifacts, "RUNNING", {}, first_tags, set())


def _continued(client: MlflowClient, run: StoredRun) -> OwnRun:
    run_id = str(run.info.run_id)
    written = {
        (point.key, point.step)
        for key in run.data.metrics
        for point in client.get_metric_history(run_id, key)
    }
    data, info = run.data, run.info
    artifacts, status = str(info.artifact_uri), str(info.status)
    has_dataset = bool(run.inputs and run.inputs.dataset_inputs)
    params, tags = dict(data.params), dict(data.tags)
    return OwnRun(run_id, artifacts, status, params, tags, written, has_dataset)


def _orphan(client: MlflowClient, experiment_id: str, owner: str) -> StoredRun | None:
    """Find the run that a killed process created and did not note."""
    query = f"tags.owner = '{owner}' and attributes.status = 'RUNNING'"
    runs = client.search_runs([experiment_id], query, max_results=1)
    return runs[0] if runs else None


def _stored(client: MlflowClient, run_id: str) -> StoredRun | None:
    """Get the run; None if it was deleted or the store is another one."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None
