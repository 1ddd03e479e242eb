"""The mirror of a run folder in MLflow. What the mirror lacks of the folder is sent, and sent once.

No torch, no Lightning: what a killed process left is sent by another.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from sqlalchemy.exc import SQLAlchemyError

from xent_bench.runs.begun import Unfinished, is_paused, load_begun, was_stopped
from xent_bench.runs.curves import WRITTEN, Curves
from xent_bench.runs.data_account import load_account
from xent_bench.runs.files import (
    AT_START,
    BEGUN,
    CLASSES,
    NET,
    PICTURES,
    PREDICTIONS,
    RESULT,
    RUN_ID,
    WEIGHTS,
    clear_pending,
)
from xent_bench.runs.result import Run, load_run
from xent_bench.tracking.dataset import dataset_input
from xent_bench.tracking.logged_model import load_model, send_model
from xent_bench.tracking.own_run import LONGEST_TAG, OwnRun, own_run, put_away_others
from xent_bench.tracking.store import open_store, points

OUT_OF_REACH = (MlflowException, OSError, SQLAlchemyError)
SEND_INTERVAL = 5.0  # seconds that points wait for more: MLflow's UI follows a run of minutes
TIMES_ITS_COST = 50  # so long each run waits for what another of its process takes to send
LONGEST_REASON = 5000  # characters
FAILURE, PAUSED = ENDINGS = ("failure", "paused")  # tags with the reason of a run without a result


class Mirror:
    """An open MLflow run that mirrors a run folder.

    Whatever fails is sent again: MLflow keeps once what comes twice, as each point has its time
    from the folder.
    """

    def __init__(self, client: MlflowClient, run: OwnRun) -> None:
        """Start from the points, parameters and tags that the MLflow run has already."""
        self.client, self.run = client, run
        self.sent, self.tags = set(run.written), dict(run.tags)
        self.last_try, self.interval = time.monotonic(), SEND_INTERVAL
        _OPEN.add(self)

    @property
    def id(self) -> str:
        """The id that MLflow gave to the run."""
        return self.run.id

    def follow(self, curves: Curves) -> None:
        """Send waiting points every few seconds; while nobody answers, half as often each time.

        Where a process trains many runs, each sends less often: all of them together take at most a
        fiftieth of the time.
        """
        start = time.monotonic()
        if start - self.last_try <= self.interval:
            return
        curves.save()  # first: a point that is sent again has its time from the folder
        try:
            self.send(curve_points(curves.steps))
            cost = time.monotonic() - start
            self.interval = max(SEND_INTERVAL, TIMES_ITS_COST * cost * (len(_OPEN) - 1))
        except OUT_OF_REACH:  # a server may come back, and the folder has the points
            self.interval *= 2
            for other in _OPEN:  # or each run of a group would wait for the server in vain
                other.interval = max(other.interval, self.interval)
                other.last_try = time.monotonic()
        self.last_try = time.monotonic()

    def send(
        self,
        metrics: Sequence[Metric] = (),
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        """Send those that the MLflow run does not have, in one request."""
        new_points = [point for point in metrics if (point.key, point.step) not in self.sent]
        whole = {key: value[:LONGEST_TAG] for key, value in (tags or {}).items()}
        new_tags = {key: value for key, value in whole.items() if self.tags.get(key) != value}
        new_params = [
            Param(k, str(v)) for k, v in (params or {}).items() if k not in self.run.params
        ]
        if new_points or new_tags or new_params:
            stored_tags = [RunTag(key, value) for key, value in new_tags.items()]
            self.client.log_batch(self.id, new_points, new_params, stored_tags)
        self.sent |= {(point.key, point.step) for point in new_points}
        self.tags |= new_tags

    def send_file(self, file: Path, artifact_folder: str | None = None) -> None:
        """Copy the file to the run's artifacts, or to a folder of them.

        A ValueError for a link, which in somebody else's folder may lead to any file.
        """
        if file.is_symlink():
            raise ValueError(f"{file} is a link to another file: it is not sent")
        if self.run.artifacts.startswith("file:"):  # the client would ask the store where they are
            log: Any = LocalArtifactRepository(self.run.artifacts).log_artifact  # has no types
            log(str(file), artifact_folder)
        else:
            self.client.log_artifact(self.id, str(file), artifact_folder)

    def has_file(self, file: Path) -> bool:
        """Whether the run's artifacts have the file: its bytes, or on a server its size."""
        if self.run.artifacts.startswith("file:"):
            return is_same(file, artifact_place(self.run.artifacts) / file.name)
        artifacts = self.client.list_artifacts(self.id)
        sizes = {artifact.path: artifact.file_size for artifact in artifacts}
        return sizes.get(file.name) == file.stat().st_size

    def resume(self) -> None:
        """Set the MLflow run back to RUNNING and remove the tag of how an earlier attempt ended."""
        if self.run.status != "RUNNING":
            self.client.update_run(self.id, status="RUNNING")
        self._delete_endings()

    def end(self, whole: "Contents") -> None:
        """Give the MLflow run its last status, and the time when it ended."""
        _OPEN.discard(self)
        self._delete_endings(but=whole.tags)
        self.client.set_terminated(self.id, whole.status, int(1000 * whole.ended))

    def _delete_endings(self, but: Collection[str] = ()) -> None:
        for tag in ENDINGS:
            if tag not in but and self.tags.pop(tag, None) is not None:
                self.client.delete_tag(self.id, tag)


_OPEN: WeakSet[Mirror] = WeakSet()  # the mirrors of the runs that this process trains


def artifact_place(address: str) -> Path:
    """The folder on this machine that an address of artifacts names."""
    repository: Any = LocalArtifactRepository(address)  # has no types
    return Path(repository.artifact_dir)


def is_same(file: Path, copy: Path) -> bool:
    """Whether two files have the same bytes; False if the copy does not exist."""
    if not copy.is_file() or copy.stat().st_size != file.stat().st_size:
        return False
    return copy.read_bytes() == file.read_bytes()


def open_mirror(uri: str, folder: Path, begun: Unfinished) -> Mirror:
    """Open the folder's MLflow run, with the parameters, tags and config that the run began with.

    The store, the experiment and the MLflow run are created where they are missing.
    """
    client, experiment_id = open_store(uri, begun.experiment, folder)
    started = begun.started or time.time()
    mirror = Mirror(client, own_run(client, experiment_id, folder, begun.name, begun.tags, started))
    mirror.send(tags=begun.tags, params=begun.params)
    for file in (folder / name for name in AT_START):
        if file.is_file():  # reading a pipe would have no end
            mirror.send_file(file)
    if not mirror.run.has_dataset and (account := load_account(folder)) is not None:
        client.log_inputs(mirror.id, datasets=[dataset_input(account, begun.params, begun.tags)])
    return mirror


class Contents(NamedTuple):
    """Everything that MLflow has of a run folder in the end."""

    status: str
    ended: float  # unix seconds
    points: list[Metric]
    tags: dict[str, str]
    files: list[Path]
    pictures: list[Path]


def contents(folder: Path) -> Contents:
    """Read what MLflow has of the folder of a run that has ended, beside its config and params."""
    curves = Curves(folder)
    result, begun = folder / RESULT, load_begun(folder)
    if result.exists():
        ended = result.stat().st_mtime
        run = load_run(result)
        scores = points(_final_metrics(run), 0, ended)
        tags = {key: value for key, value in run.tags.items() if key != RUN_ID}
        names = (PREDICTIONS, NET, CLASSES, WEIGHTS)
        files = [folder / name for name in names if (folder / name).is_file()]
        pictures = sorted(file for file in (folder / PICTURES).glob("*") if file.is_file())
        return Contents(
            "FINISHED", ended, curve_points(curves.steps) + scores, tags, files, pictures
        )
    # MLflow has no status for a pause; FINISHED would promise scores on test
    status = "KILLED" if was_stopped(begun) or is_paused(begun) else "FAILED"
    times = [values[WRITTEN] for values in curves.steps.values()]
    ended = max([*times, (folder / BEGUN).stat().st_mtime])
    tag = PAUSED if is_paused(begun) else FAILURE if status == "FAILED" else None
    tags = {tag: begun.reason[:LONGEST_REASON]} if tag else {}
    return Contents(status, ended, curve_points(curves.steps), tags, [], [])


def catch_up(mirror: Mirror, folder: Path) -> str:
    """Send all that the folder has and the mirror lacks, and last the status; return the status.

    Other MLflow runs of the key, of earlier trainings, are put away once this one is FINISHED.
    """
    whole = contents(folder)
    mirror.send(whole.points, whole.tags)
    for file in whole.files:
        if not mirror.has_file(file):  # asked first, as it may be large
            mirror.send_file(file)
    for picture in whole.pictures:
        mirror.send_file(picture, PICTURES)
    if whole.status == "FINISHED" and (model := load_model(folder, whole.points)) is not None:
        send_model(mirror.client, mirror.run.experiment_id, mirror.id, model)
    mirror.end(whole)
    if whole.status == "FINISHED":
        put_away_others(mirror.client, mirror.run, folder, whole.ended)
    clear_pending(folder)
    return whole.status


def curve_points(steps: Mapping[int, Mapping[str, float]]) -> list[Metric]:
    """Points of all steps, each with the time when its step was written."""
    return [
        point
        for step, values in steps.items()
        for point in points(
            {key: value for key, value in values.items() if key != WRITTEN},
            step,
            values[WRITTEN],
        )
    ]


def _final_metrics(run: Run) -> dict[str, float]:
    """Metrics and costs of the whole run, which are no curves and stand at step 0."""
    scores = {key: value for key, value in run.metrics.items() if not key.startswith("val/")}
    cost = {"time/seconds": run.seconds}
    if run.examples_per_second is not None:
        cost["time/examples_per_second"] = run.examples_per_second
    return scores | cost
