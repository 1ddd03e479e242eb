"""MLflow, the write side: one run for each run folder, whatever happens in between."""

import getpass
import logging
import os
import platform
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException
from pytorch_lightning.loggers.logger import Logger

from xent_bench.curves import Curves
from xent_bench.failures import Unavailable
from xent_bench.tracking_store import open_store, points, tracking_uri

SOURCE = {"mlflow.source.name": "xent-train", "mlflow.source.type": "LOCAL"}  # a column of the UI


class Tracking(Logger):
    """An open MLflow run, as Lightning's logger.

    A point that is there already is not written again: a run killed between the logging of an
    epoch and its checkpoint repeats that epoch, to the same numbers.
    """

    def __init__(self, client: MlflowClient, run_id: str, curves: Curves) -> None:
        """Learn what an earlier process logged; `curves` keep what is logged after an epoch."""
        super().__init__()
        self.client, self.run_id, self.curves = client, run_id, curves
        self.written = {
            (point.key, point.step)
            for key in client.get_run(run_id).data.metrics
            for point in client.get_metric_history(run_id, key)
        }

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return "mlflow"

    @property
    def version(self) -> str:
        """The run's id."""
        return self.run_id

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: `open_run` has written the parameters."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """All points of a step in one request, and in the folder; at step 0 what is no curve."""
        step = step or 0
        if step:
            self.curves.add(step, metrics)
        new = {key: value for key, value in metrics.items() if (key, step) not in self.written}
        self.client.log_batch(self.run_id, metrics=points(new, step))
        self.written |= {(key, step) for key in new}

    def log_file(self, file: Path, folder: str | None = None) -> None:
        """Keep a file with the run, in a folder of its artifacts."""
        self.client.log_artifact(self.run_id, str(file), folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Add or replace."""
        self.client.log_batch(self.run_id, tags=[RunTag(key, tags[key]) for key in tags])


@contextmanager
def open_run(
    folder: Path,
    *,
    uri: str | None,
    experiment: str,
    name: str,
    params: Mapping[str, Any],
    tags: dict[str, str],
) -> Iterator[Tracking]:
    """The MLflow run of a run folder: the one that was begun there, else a new one.

    It ends FINISHED, or FAILED with the reason as the tag `failure`, or, interrupted, KILLED.
    """
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        client, experiment_id = open_store(uri, experiment, folder)
        run_id = _run_id(client, experiment_id, folder, name)
        tracking = Tracking(client, run_id, Curves(folder))
        parameters = [Param(key, str(value)) for key, value in params.items()]
        client.log_batch(tracking.run_id, params=parameters)
        tracking.set_tags(tags | SOURCE | {"mlflow.user": _user()})
    except (MlflowException, OSError) as error:
        raise _unavailable(uri, error) from error
    try:
        yield tracking
        client.set_terminated(tracking.run_id, "FINISHED")
    except MlflowException as error:  # gone meanwhile: it cannot be told
        raise _unavailable(uri, error) from error
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        with suppress(MlflowException):  # what went wrong first is what the user must see
            if not interrupted:
                tracking.set_tags({"failure": f"{type(error).__name__}: {error}"[:5000]})
            client.set_terminated(tracking.run_id, "KILLED" if interrupted else "FAILED")
        raise


def _unavailable(uri: str | None, error: Exception) -> Unavailable:
    place = tracking_uri(uri)
    password = urlsplit(place).password
    reason = str(error).partition("\n")[0]
    if "Max retries exceeded" in reason:
        reason = "no answer"
    message = f"MLflow at {place}: {reason}"
    return Unavailable(message.replace(f":{password}@", ":***@") if password else message)


def _reopened(client: MlflowClient, run_id: str) -> str | None:
    """The run, as running again; None if it was deleted or the store is another one."""
    try:
        client.update_run(run_id, status="RUNNING")
        if "failure" in client.get_run(run_id).data.tags:
            client.delete_tag(run_id, "failure")
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return run_id


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def _run_id(client: MlflowClient, experiment_id: str, folder: Path, name: str) -> str:
    """Of the run begun in this folder, else of a new one."""
    file = folder / "mlflow_run_id"
    begun = _reopened(client, file.read_text()) if file.exists() else None
    if begun is not None:
        return begun
    # A process killed between create_run and the rename below leaves a run that only this tells.
    owner = str(uuid.uuid5(uuid.NAMESPACE_URL, f"//{platform.node()}{folder.resolve()}"))
    orphans = client.search_runs(
        [experiment_id], f"tags.owner = '{owner}' and attributes.status = 'RUNNING'", max_results=1
    )
    run = (
        orphans[0]
        if orphans
        else client.create_run(experiment_id, run_name=name, tags={"owner": owner})
    )
    run_id = str(run.info.run_id)
    part = file.with_suffix(".part")
    part.write_text(run_id)
    part.rename(file)
    return run_id
