"""The MLflow run of a run folder: the one that was begun there, else a new one."""

import platform
import uuid
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from mlflow.entities import RunTag
from mlflow.exceptions import MlflowException

LONGEST_TAG = 8000  # MLflow cuts a tag that is added, but not one that a run is created with


class OwnRun(NamedTuple):
    """The run, where its files go, and what it has already: a key and a step each."""

    id: str
    artifacts: str
    written: set[tuple[str, int]]


def own_run(
    client: MlflowClient, experiment_id: str, folder: Path, name: str, tags: dict[str, str]
) -> OwnRun:
    """It runs, and has the tags."""
    file = folder / "mlflow_run_id"
    begun = _reopened(client, file.read_text()) if file.exists() else None
    if begun is not None:
        return _continued(client, begun, tags)
    owner = str(uuid.uuid5(uuid.NAMESPACE_URL, f"//{platform.node()}{folder.resolve()}"))
    part = file.with_suffix(".part")
    # A process killed between create_run and the rename below leaves a run that only this tells.
    orphan = _orphan(client, experiment_id, owner) if part.exists() else None
    part.touch()
    given = {key: value[:LONGEST_TAG] for key, value in tags.items()} | {"owner": owner}
    run = orphan or client.create_run(experiment_id, run_name=name, tags=given)
    part.write_text(run.info.run_id)
    part.rename(file)
    if orphan is not None:
        return _continued(client, orphan, tags)
    return OwnRun(str(run.info.run_id), str(run.info.artifact_uri), set())


def _continued(client: MlflowClient, run: StoredRun, tags: dict[str, str]) -> OwnRun:
    run_id = str(run.info.run_id)
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
    written = {
        (point.key, point.step)
        for key in run.data.metrics
        for point in client.get_metric_history(run_id, key)
    }
    return OwnRun(run_id, str(run.info.artifact_uri), written)


def _orphan(client: MlflowClient, experiment_id: str, owner: str) -> StoredRun | None:
    wanted = f"tags.owner = '{owner}' and attributes.status = 'RUNNING'"
    found = client.search_runs([experiment_id], wanted, max_results=1)
    return found[0] if found else None


def _reopened(client: MlflowClient, run_id: str) -> StoredRun | None:
    """The run, as running again; None if it was deleted or the store is another one."""
    try:
        client.update_run(run_id, status="RUNNING")
        run = client.get_run(run_id)
        if "failure" in run.data.tags:
            client.delete_tag(run_id, "failure")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return run
