"""The MLflow run of a run folder: the one that was begun there, else a new one."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from mlflow.exceptions import MlflowException

from xent_bench.runs.whole_files import write_lasting

FILE, OWNER = "mlflow_run_id", "mlflow_owner"
LONGEST_TAG = 8000  # MLflow cuts a tag that is added, but not one that a run is created with


class OwnRun(NamedTuple):
    """The run, where its files go, and what it has already: of points a key and a step each."""

    id: str
    artifacts: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    written: set[tuple[str, int]]


def own_run(
    client: MlflowClient,
    experiment_id: str,
    folder: Path,
    name: str,
    tags: Mapping[str, str],
    started: float,
) -> OwnRun:
    """A new one runs, since `started` in unix seconds, and has the tags."""
    file, own = folder / FILE, folder / OWNER
    begun = _stored(client, file.read_text()) if file.exists() else None
    if begun is not None:
        return _continued(client, begun)
    # A process killed between create_run and the noting of its id leaves a run that only this
    # tells, on whatever machine the next one runs.
    owner = own.read_text() if own.exists() else str(uuid.uuid4())
    orphan = _orphan(client, experiment_id, owner) if own.exists() else None
    write_lasting(own, owner)
    given = {key: value[:LONGEST_TAG] for key, value in tags.items()} | {"owner": owner}
    run = orphan or client.create_run(
        experiment_id, start_time=int(1000 * started), run_name=name, tags=given
    )
    write_lasting(file, run.info.run_id)
    own.unlink()
    if orphan is not None:
        return _continued(client, orphan)
    id_, artifacts = str(run.info.run_id), str(run.info.artifact_uri)
    return OwnRun(id_, artifacts, "RUNNING", {}, given, set())


def _continued(client: MlflowClient, run: StoredRun) -> OwnRun:
    run_id = str(run.info.run_id)
    written = {
        (point.key, point.step)
        for key in run.data.metrics
        for point in client.get_metric_history(run_id, key)
    }
    data, info = run.data, run.info
    place, status = str(info.artifact_uri), str(info.status)
    return OwnRun(run_id, place, status, dict(data.params), dict(data.tags), written)


def _orphan(client: MlflowClient, experiment_id: str, owner: str) -> StoredRun | None:
    wanted = f"tags.owner = '{owner}' and attributes.status = 'RUNNING'"
    found = client.search_runs([experiment_id], wanted, max_results=1)
    return found[0] if found else None


def _stored(client: MlflowClient, run_id: str) -> StoredRun | None:
    """None if it was deleted or the store is another one."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None
