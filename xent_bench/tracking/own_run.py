"""The MLflow run that belongs to a run folder: the one begun there, or else a new one.

A store has one run of a user for a key. Of several trainings of it the one that ended last counts;
the others are tagged `superseded_by` and put away, from where MLflow's UI can bring them back.
"""

import platform
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from mlflow.exceptions import MlflowException

from xent_bench.runs.files import RUN_ID
from xent_bench.runs.reading import read_text
from xent_bench.runs.result import mlflow_run_id
from xent_bench.runs.whole_files import write_lasting
from xent_bench.tracking.models_of_run import put_away_models

OWNER = "mlflow_owner"
KEY, PLACE, SUPERSEDED = "key", "folder", "superseded_by"  # tags
USER = "mlflow.user"
LONGEST_TAG = 8000  # MLflow cuts a tag that is added, but not one that a run is created with
PAGE = 200  # runs in one answer: a run has some 200 metrics, and a server may be slow


class OwnRun(NamedTuple):
    """An MLflow run and what it has already."""

    id: str
    experiment_id: str
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
    start_time = int(1000 * started)
    run_id = mlflow_run_id(folder)
    if run_id is not None:
        # the id may be that of another store, to which the folder was sent too
        key = tags.get(KEY)
        begun = _stored(client, experiment_id, run_id, key) or _of_key(
            client, experiment_id, key, start_time
        )
        if begun is not None:
            write_lasting(file, begun.info.run_id)
            return _continued(client, begun)
    # A process that is killed after create_run and before it notes the id leaves a run that only
    # the owner tag identifies, whatever machine the next process runs on.
    was_tried = owner_file.exists()
    owner = read_text(owner_file) if was_tried else str(uuid.uuid4())
    orphan = _orphan(client, experiment_id, owner) if was_tried else None
    write_lasting(owner_file, owner)
    first_tags = {key: value[:LONGEST_TAG] for key, value in tags.items()}
    first_tags |= {"owner": owner, PLACE: place_of(folder)}
    run = orphan or client.create_run(
        experiment_id, start_time=start_time, run_name=name, tags=first_tags
    )
    write_lasting(file, run.info.run_id)
    owner_file.unlink()
    if orphan is not None:
        return _continued(client, orphan)
    run_id, artifacts = str(run.info.run_id), str(run.info.artifact_uri)
    return OwnRun(run_id, experiment_id, artifacts, "RUNNING", {}, first_tags, set())


def place_of(folder: Path) -> str:
    """The machine and the folder, by which runs that nobody trains any more are recognised."""
    return f"{platform.node()}:{folder.resolve()}"


def put_away_others(client: MlflowClient, run: OwnRun, folder: Path, ended: float) -> None:
    """Leave one MLflow run for the key of this one, FINISHED at `ended`: the one that ended last.

    A run that another machine or folder still trains is left alone, and so is every run of
    another user: several people may compare their trainings in one store.
    """
    # without this run, which has many metrics to be read: nearly always the answer is empty
    others = _with_key(client, run.experiment_id, run.tags.get(KEY), but=run.id)
    others = [stored for stored in others if stored.data.tags.get(USER) == run.tags.get(USER)]
    if not others:
        return
    # of two that were sent from one folder, and so ended at one instant, this one is kept
    ends = {run.id: int(1000 * ended)} | {
        stored.info.run_id: stored.info.end_time or 0
        for stored in others
        if stored.info.status == "FINISHED"
    }
    last = max(ends, key=lambda run_id: ends[run_id])
    for stored in others:
        is_alive = stored.info.status == "RUNNING" and (
            stored.data.tags.get(PLACE) != place_of(folder)
        )
        if stored.info.run_id != last and not is_alive:
            put_away(client, run.experiment_id, stored.info.run_id, last)
    if last != run.id:
        put_away(client, run.experiment_id, run.id, last)


def put_away(client: MlflowClient, experiment_id: str, run_id: str, by: str) -> None:
    """Delete a run, which MLflow's UI can restore, and note the run that replaces it."""
    client.set_tag(run_id, SUPERSEDED, by)
    put_away_models(client, experiment_id, run_id)
    client.delete_run(run_id)


def _with_key(
    client: MlflowClient, experiment_id: str, key: str | None, but: str = ""
) -> list[StoredRun]:
    """Find the runs of a key, without the one with the id `but`."""
    if key is None or not re.fullmatch(r"[\w.-]+", key):  # a record that somebody edited
        return []
    query = f"tags.{KEY} = '{key}'" + (f" and attributes.run_id != '{but}'" if but else "")
    return list(client.search_runs([experiment_id], query, max_results=PAGE))


def _of_key(
    client: MlflowClient, experiment_id: str, key: str | None, start_time: int
) -> StoredRun | None:
    """Find the run of a key that began at the same instant: it shows the same training."""
    runs = _with_key(client, experiment_id, key)
    return next((run for run in runs if run.info.start_time == start_time), None)


def _continued(client: MlflowClient, run: StoredRun) -> OwnRun:
    run_id = str(run.info.run_id)
    written = {
        (point.key, point.step)
        for key in run.data.metrics
        for point in client.get_metric_history(run_id, key)
    }
    data, info = run.data, run.info
    artifacts, status, experiment_id = str(info.artifact_uri), str(info.status), info.experiment_id
    params, tags = dict(data.params), dict(data.tags)
    has_dataset = bool(run.inputs and run.inputs.dataset_inputs)
    return OwnRun(run_id, str(experiment_id), artifacts, status, params, tags, written, has_dataset)


def _orphan(client: MlflowClient, experiment_id: str, owner: str) -> StoredRun | None:
    """Find the run that a killed process created and did not note."""
    query = f"tags.owner = '{owner}' and attributes.status = 'RUNNING'"
    runs = client.search_runs([experiment_id], query, max_results=1)
    return runs[0] if runs else None


def _stored(
    client: MlflowClient, experiment_id: str, run_id: str, key: str | None
) -> StoredRun | None:
    """Get the run; None if it was deleted, or is of another store, experiment or key."""
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    is_active = run.info.lifecycle_stage == "active"
    is_ours = run.info.experiment_id == experiment_id and run.data.tags.get(KEY, key) == key
    return run if is_active and is_ours else None
