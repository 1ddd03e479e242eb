"""Removal of a run from MLflow, and its return: MLflow keeps what is deleted until `mlflow gc`."""

from collections.abc import Iterable
from pathlib import Path

from xent_bench.failures import Unavailable
from xent_bench.runs.begun import load_begun
from xent_bench.runs.files import MODEL, set_pending
from xent_bench.runs.result import mlflow_run_id
from xent_bench.tracking.reach import complaint, one_line, store_if_begun_there, store_if_configured


def check_stores(folders: Iterable[Path]) -> None:
    """Raise Unavailable unless the stores of all these runs answer, ValueError for a damaged id."""
    runs = [folder for folder in folders if mlflow_run_id(folder) is not None]
    for uri in dict.fromkeys(map(store_if_configured, runs)):
        if failure := complaint(uri):
            raise Unavailable(failure)
    for folder in runs:
        store_if_begun_there(folder)


def delete_in_mlflow(folder: Path) -> bool:
    """Delete the folder's run in MLflow. False if it has none; Unavailable without the store."""
    return _change(folder, to="deleted")


def restore_in_mlflow(folder: Path) -> bool:
    """Restore the folder's run in MLflow. False if it has none; Unavailable without the store.

    MLflow cannot restore its model: the folder is marked, so that xent-sync sends it again.
    """
    is_restored = _change(folder, to="active")
    if is_restored and (folder / MODEL).exists():
        set_pending(folder)
    return is_restored


def _change(folder: Path, to: str) -> bool:
    run_id = mlflow_run_id(folder)
    if run_id is None:
        return False
    uri = store_if_begun_there(folder)
    from mlflow.exceptions import MlflowException  # MLflow takes seconds

    from xent_bench.tracking.models_of_run import put_away_models
    from xent_bench.tracking.store import existing_store

    client = existing_store(uri)
    try:
        stored = client.get_run(run_id)
        # a folder of somebody else's may name any run of the store
        if stored.data.tags.get("key", "") != _key(folder):
            return False
        if to == "deleted":  # the models first: a deleted run is not looked for again
            put_away_models(client, stored.info.experiment_id, run_id)
        if stored.info.lifecycle_stage != to:
            (client.delete_run if to == "deleted" else client.restore_run)(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return False
        raise Unavailable(one_line(uri, error)) from error
    return True


def _key(folder: Path) -> str:
    """The key of the folder's run; empty where its record is damaged, or of an old version."""
    try:
        return load_begun(folder).tags.get("key", "")
    except ValueError:
        return ""
