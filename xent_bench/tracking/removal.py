"""Removal of a run from MLflow, and its return: MLflow keeps what is deleted until `mlflow gc`."""

from pathlib import Path

from xent_bench.failures import Unavailable
from xent_bench.runs.files import RUN_ID
from xent_bench.tracking.reach import complaint, one_line, store_if_configured


def delete_in_mlflow(folder: Path) -> bool:
    """Delete the folder's run in MLflow. False if it has none; Unavailable without the store."""
    return _change(folder, to="deleted")


def restore_in_mlflow(folder: Path) -> bool:
    """Restore the folder's run in MLflow. False if it has none; Unavailable without the store."""
    return _change(folder, to="active")


def _change(folder: Path, to: str) -> bool:
    file = folder / RUN_ID
    if not file.exists():
        return False
    run_id = file.read_text()
    uri = store_if_configured(folder)
    if failure := complaint(uri):
        raise Unavailable(failure)
    from mlflow.exceptions import MlflowException  # MLflow takes seconds

    from xent_bench.tracking.store import existing_store

    client = existing_store(uri)
    try:
        if client.get_run(run_id).info.lifecycle_stage != to:
            (client.delete_run if to == "deleted" else client.restore_run)(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return False
        raise Unavailable(one_line(uri, error)) from error
    return True
