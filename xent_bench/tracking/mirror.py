"""The MLflow run that shows a run folder. What it lacks of the folder is sent, and sent once.

No torch, no Lightning: what a killed process left is sent by another.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from sqlalchemy.exc import SQLAlchemyError

from xent_bench.runs.begun import Unfinished, load_begun, was_stopped
from xent_bench.runs.curves import WRITTEN, Curves
from xent_bench.runs.files import NET, RESULT, WEIGHTS, clear_pending
from xent_bench.runs.result import Run, load_run
from xent_bench.tracking.own_run import OwnRun, own_run
from xent_bench.tracking.store import open_store, points

OUT_OF_REACH = (MlflowException, OSError, SQLAlchemyError)
PATIENCE = 5.0  # seconds that points wait for more: MLflow's UI follows a run of minutes
LONGEST_REASON = 5000  # characters


class View:
    """An open MLflow run. Whatever fails is sent again: MLflow keeps once what comes twice, as each
    point has its time from the folder.
    """

    def __init__(self, client: MlflowClient, run: OwnRun) -> None:
        """Of a run that has something already."""
        self.client, self.run = client, run
        self.sent, self.tags = set(run.written), dict(run.tags)
        self.tried, self.patience = time.monotonic(), PATIENCE

    @property
    def id(self) -> str:
        """MLflow's."""
        return self.run.id

    def follow(self, curves: Curves) -> None:
        """Send the points that wait, now and then; where nobody answers, twice as seldom."""
        if time.monotonic() - self.tried <= self.patience:
            return
        curves.save()  # first: a point that is sent again has its time from the folder
        try:
            self.send(curve_points(curves.steps))
            self.patience = PATIENCE
        except OUT_OF_REACH:  # a server may come back, and the folder has them
            self.patience *= 2
        self.tried = time.monotonic()

    def send(
        self,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """What of it is not there, in one request."""
        new = [each for each in metrics if (each.key, each.step) not in self.sent]
        words = {k: v for k, v in (tags or {}).items() if self.tags.get(k) != v}
        given = [Param(k, str(v)) for k, v in (params or {}).items() if k not in self.run.params]
        if new or words or given:
            self.client.log_batch(self.id, new, given, [RunTag(k, words[k]) for k in words])
        self.sent |= {(each.key, each.step) for each in new}
        self.tags |= words

    def send_file(self, file: Path, place: str | None = None) -> None:
        """To a folder of the run's artifacts."""
        if self.run.artifacts.startswith("file:"):  # the client would ask the store where they are
            keep: Any = LocalArtifactRepository(self.run.artifacts).log_artifact  # has no types
            keep(str(file), place)
        else:
            self.client.log_artifact(self.id, str(file), place)

    def has_file(self, file: Path) -> bool:
        """Whether one of its name and size is there."""
        if self.run.artifacts.startswith("file:"):
            place: Any = LocalArtifactRepository(self.run.artifacts)  # has no types
            found = place.list_artifacts()
        else:
            found = self.client.list_artifacts(self.id)
        return (file.name, file.stat().st_size) in [(each.path, each.file_size) for each in found]

    def resume(self) -> None:
        """It runs again."""
        if self.run.status != "RUNNING":
            self.client.update_run(self.id, status="RUNNING")
        self._unsay_failure()

    def end(self, status: str, ended: float) -> None:
        """How, and when in unix seconds."""
        if status != "FAILED":
            self._unsay_failure()
        self.client.set_terminated(self.id, status, int(1000 * ended))

    def _unsay_failure(self) -> None:
        if self.tags.pop("failure", None) is not None:
            self.client.delete_tag(self.id, "failure")


def open_view(uri: str, folder: Path, begun: Unfinished) -> View:
    """With the parameters, the tags and the config that it began with."""
    client, experiment_id = open_store(uri, begun.experiment, folder)
    started = begun.started or time.time()
    view = View(client, own_run(client, experiment_id, folder, begun.name, begun.tags, started))
    view.send(tags=begun.tags, params=begun.params)
    if (folder / "config.yaml").exists():
        view.send_file(folder / "config.yaml")
    return view


def catch_up(view: View, folder: Path) -> str:
    """Send all that the folder has and the view lacks, last its status, which is returned."""
    steps = Curves(folder).steps
    result, begun = folder / RESULT, load_begun(folder)
    if result.exists():
        status, ended = "FINISHED", result.stat().st_mtime
        run = load_run(result)
        final = points(_final(run), 0, ended)
        words = {k: v for k, v in run.tags.items() if k != "mlflow_run_id"}
        view.send([*curve_points(steps), *final], words)
        for name in ("predictions.npz", NET, WEIGHTS):
            if (folder / name).exists() and not view.has_file(folder / name):  # it may be large
                view.send_file(folder / name)
        for picture in sorted((folder / "pictures").glob("*")):
            view.send_file(picture, "pictures")
    else:
        status = "KILLED" if was_stopped(begun) else "FAILED"
        times = [values.get(WRITTEN, 0.0) for values in steps.values()]
        ended = max([*times, (folder / "begun.json").stat().st_mtime])
        failure = {"failure": begun.reason[:LONGEST_REASON]} if status == "FAILED" else {}
        view.send(curve_points(steps), failure)
    view.end(status, ended)
    clear_pending(folder)
    return status


def curve_points(steps: Mapping[int, Mapping[str, float]]) -> list[Metric]:
    """Each with the time that its step was written at; now, where an older version wrote it."""
    now = time.time()
    return [
        point
        for step, values in steps.items()
        for point in points(
            {key: value for key, value in values.items() if key != WRITTEN},
            step,
            values.get(WRITTEN, now),
        )
    ]


def _final(run: Run) -> dict[str, float]:
    """What is no curve: step 0."""
    scores = {key: value for key, value in run.metrics.items() if not key.startswith("val/")}
    cost = {"time/seconds": run.seconds}
    if run.examples_per_second is not None:
        cost["time/examples_per_second"] = run.examples_per_second
    return scores | cost
