"""MLflow, the write side: one run for each run folder, whatever happens in between."""

import getpass
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from pytorch_lightning.loggers.logger import Logger

from xent_bench.curves import Curves
from xent_bench.failures import Unavailable
from xent_bench.preemption import Preempted
from xent_bench.tracking.own_run import OwnRun, own_run
from xent_bench.tracking.store import open_store, points, tracking_uri

SOURCE = {"mlflow.source.name": "xent-train", "mlflow.source.type": "LOCAL"}  # a column of the UI
PATIENCE = 5.0  # seconds that points wait for more: MLflow's UI follows a run of minutes


class Tracking(Logger):
    """An open MLflow run, as Lightning's logger. What is logged waits, to be written together.

    A point that is there already is not written again: a run killed between the logging of an
    epoch and its checkpoint repeats that epoch, to the same numbers.
    """

    def __init__(self, client: MlflowClient, run: OwnRun, curves: Curves) -> None:
        """Go on after an earlier process; `curves` keep what is logged after an epoch."""
        super().__init__()
        self.client, self.run, self.curves = client, run, curves
        self.written = set(run.written)
        self.waiting: list[Metric] = []
        self.tags: dict[str, str] = {}
        self.flushed, self.patience = time.monotonic(), PATIENCE
        for step, metrics in curves.steps.items():  # of a process killed before it wrote them
            self._await(metrics, step)

    @property
    def run_id(self) -> str:
        """MLflow's."""
        return self.run.id

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
        """The points of a step, in the folder at once; at step 0 what is no curve."""
        step = step or 0
        if step:
            self.curves.add(step, metrics)
        self._await(metrics, step)
        if time.monotonic() - self.flushed > self.patience:
            try:
                self.flush()
            except MlflowException:  # a server may come back; at the end it must be there
                self.patience *= 2

    def log_file(self, file: Path, folder: str | None = None) -> None:
        """Keep a file with the run, in a folder of its artifacts."""
        if self.run.artifacts.startswith("file:"):  # the client would ask the store where they are
            keep: Any = LocalArtifactRepository(self.run.artifacts).log_artifact  # has no types
            keep(str(file), folder)
        else:
            self.client.log_artifact(self.run_id, str(file), folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Add or replace."""
        self.tags |= tags

    def flush(self, params: Sequence[Param] = ()) -> None:
        """Write what waits, in one request. If that fails it waits on, with its times: MLflow keeps
        once what is sent twice.
        """
        tags = [RunTag(key, value) for key, value in self.tags.items()]
        self.client.log_batch(self.run_id, self.waiting, params, tags)
        self.waiting, self.tags, self.flushed = [], {}, time.monotonic()

    def end(self, status: str) -> None:
        """Write what waits, and how it ended."""
        self.flush()
        self.client.set_terminated(self.run_id, status)

    def _await(self, metrics: Mapping[str, float], step: int) -> None:
        new = {key: value for key, value in metrics.items() if (key, step) not in self.written}
        self.waiting += points(new, step)
        self.written |= {(key, step) for key in new}


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
        tags = tags | SOURCE | {"mlflow.user": _user()}
        run = own_run(client, experiment_id, folder, name, tags)
        tracking = Tracking(client, run, Curves(folder))
        tracking.flush([Param(key, str(value)) for key, value in params.items()])
    except (MlflowException, OSError) as error:
        raise _unavailable(uri, error) from error
    try:
        yield tracking
        tracking.end("FINISHED")
    except MlflowException as error:  # gone meanwhile: it cannot be told
        raise _unavailable(uri, error) from error
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt | Preempted)
        with suppress(MlflowException, OSError):  # what went wrong first is what the user must see
            if not interrupted:
                tracking.set_tags({"failure": f"{type(error).__name__}: {error}"[:5000]})
            tracking.end("KILLED" if interrupted else "FAILED")
        raise


def _unavailable(uri: str | None, error: Exception) -> Unavailable:
    place = tracking_uri(uri)
    password = urlsplit(place).password
    reason = str(error).partition("\n")[0]
    if "Max retries exceeded" in reason:
        reason = "no answer"
    message = f"MLflow at {place}: {reason}"
    return Unavailable(message.replace(f":{password}@", ":***@") if password else message)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())
