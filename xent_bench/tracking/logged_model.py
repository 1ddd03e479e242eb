"""The model of a run in MLflow: a LoggedModel beside its run, with the metrics that were measured.

The model lies in the run's folder (`runs/model_folder.py`). What MLflow lacks of it is sent, and
sent once: a LoggedModel is recognised by its run and the hash of its weights, which it has from the
instant at which it is created.
"""

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from mlflow import MlflowClient
from mlflow.entities import FileInfo, LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

from xent_bench.failures import DataError
from xent_bench.runs.files import MODEL, RESULT
from xent_bench.runs.model_folder import CARD, DESCRIPTION, ModelFolder, read_model_folder
from xent_bench.runs.reading import read_text
from xent_bench.runs.result import Run, load_run
from xent_bench.tracking.dataset import name_and_digest
from xent_bench.tracking.models_of_run import models_of_run
from xent_bench.tracking.own_run import KEY, LONGEST_TAG

KIND = "classifier"  # shown by MLflow as the type of the model
WEIGHTS = "weights_sha256"
VERDICT = "verdict"
NOTE = "mlflow.note.content"  # the tag that MLflow shows as a description, in Markdown
FRONT = "---\n"  # begins and ends the lines of a card that are YAML
BAD_IN_NAME = re.compile(r"[/:.%\"']")  # MLflow refuses them in the name of a model


@dataclass(frozen=True)
class ModelOfRun:
    """A model in a run's folder, with the result of the run and the points that MLflow has of it.

    `points` are those of the run's curves, in the order of their steps, and of its final scores.
    """

    run: Run
    folder: ModelFolder
    points: Sequence[Metric]

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the model: the run's key and loss, the hash of the weights, and the verdict."""
        tags = {KEY: self.run.tags.get(KEY, ""), "loss": str(self.run.params.get("loss"))}
        tags[WEIGHTS] = self.run.tags[WEIGHTS]
        calibration = self.folder.metadata.get("calibration")
        verdict = calibration.get(VERDICT) if isinstance(calibration, dict) else None
        if isinstance(verdict, str):
            tags[VERDICT] = verdict
        return {key: value[:LONGEST_TAG] for key, value in tags.items()}

    @property
    def note(self) -> dict[str, str]:
        """The model card as the tag that MLflow shows as a description; empty without a card."""
        cards = [file for file in self.folder.files if file.name == CARD]
        if not cards:
            return {}
        return {NOTE: shortened_card(read_text(cards[0]), LONGEST_TAG)}

    def metrics(self, model_id: str) -> list[Metric]:
        """The metrics of `result.json` with their data set, each at a point that the run has.

        A score on val is that of the last epoch that has it. Infinite ones are left out, as in the
        run.
        """
        measured = self.run.metrics
        points = {p.key: p for p in self.points if measured.get(p.key) == p.value}
        name, digest = name_and_digest(self.run.params, self.run.tags)
        dataset = (name, digest) if digest else (None, None)
        return [
            Metric(p.key, p.value, p.timestamp, p.step, model_id, *dataset) for p in points.values()
        ]


def shortened_card(text: str, longest: int) -> str:
    """A model card as far as `longest` characters hold it, without the front for machines."""
    if text.startswith(FRONT):
        text = text[len(FRONT) :].partition(f"\n{FRONT}")[2].lstrip("\n") or text
    ending = f"\n\n(The rest is in {CARD}, among the model's files.)"
    return text if len(text) <= longest else text[: longest - len(ending)] + ending


def load_model(folder: Path, points: Sequence[Metric]) -> ModelOfRun | None:
    """Read the model in a run's folder; None if it has none.

    DataError where it is damaged, is not one of ours, or has other weights than were tested.
    """
    place = folder / MODEL
    if not (place.exists() or place.is_symlink()):
        return None
    if place.is_symlink():
        raise DataError(f"cannot use {place}: expected a folder, got a link")
    run, model = load_run(folder / RESULT), read_model_folder(place)
    expected = run.tags.get(WEIGHTS)
    if expected is None or model.metadata.get(WEIGHTS) != expected:
        raise DataError(
            f"cannot use {place}: expected the weights that were tested, of SHA-256 {expected}, "
            f"got {model.metadata.get(WEIGHTS)}; delete it, and xent-export or "
            "machine.log_model=true writes it anew"
        )
    return ModelOfRun(run, model, points)


def send_model(
    client: MlflowClient, experiment_id: str, run_id: str, model: ModelOfRun
) -> LoggedModel:
    """Send what MLflow lacks of the model of a run, last that it is ready; return it."""
    logged = find_model(client, experiment_id, run_id, model)
    if logged is None:
        logged = client.create_logged_model(
            experiment_id,
            BAD_IN_NAME.sub("-", model.run.name),
            run_id,
            tags=model.tags | model.note,
            params={key: str(value) for key, value in model.run.params.items()},
            model_type=KIND,
        )
    for file in _files_lacking(client, logged, model):
        _send_file(client, logged, file)
    if not _is_linked(client, logged, run_id):
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    if new_metrics := _metrics_lacking(logged, model):
        client.log_batch(run_id, new_metrics)
    if new_tags := {k: v for k, v in model.tags.items() if logged.tags.get(k) != v}:
        client.set_logged_model_tags(logged.model_id, new_tags)
    if logged.status != LoggedModelStatus.READY:
        logged = client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    return logged


def find_model(
    client: MlflowClient, experiment_id: str, run_id: str, model: ModelOfRun
) -> LoggedModel | None:
    """The LoggedModel of the run with these weights; None if MLflow has none."""
    weights = model.run.tags[WEIGHTS]
    models = models_of_run(client, experiment_id, run_id)
    return next((logged for logged in models if logged.tags.get(WEIGHTS) == weights), None)


def model_differences(
    client: MlflowClient, experiment_id: str, run_id: str, model: ModelOfRun, *, whole: bool
) -> list[str]:
    """List what MLflow lacks of the model; `whole`: of its files too, which takes more requests."""
    logged = find_model(client, experiment_id, run_id, model)
    if logged is None:
        return ["the model"]
    lacks = []
    if logged.status != LoggedModelStatus.READY:
        lacks.append("the end of the model's upload")
    if not _is_linked(client, logged, run_id):
        lacks.append("the link from the run to its model")
    if number := len(_metrics_lacking(logged, model)):
        lacks.append(f"{number} metric{'s' * (number > 1)} of the model")
    if whole:
        lacks += [f"{MODEL}/{file.name}" for file in _files_lacking(client, logged, model)]
    return lacks


def _files_lacking(client: MlflowClient, logged: LoggedModel, model: ModelOfRun) -> list[Path]:
    """The model's files that MLflow has not: compared by their sizes."""
    listed = _artifacts(client, logged).list()
    sizes = {Path(artifact.path).name: artifact.file_size for artifact in listed}
    return [file for file in model.folder.files if sizes.get(file.name) != _size(file, logged)]


def _size(file: Path, logged: LoggedModel) -> int:
    """The bytes that a file of the model has in MLflow."""
    if file.name == DESCRIPTION:
        return len(_description_with_ids(file, logged).encode())
    return file.stat().st_size


def _description_with_ids(file: Path, logged: LoggedModel) -> str:
    """The model's description with its id in MLflow and that of its run."""
    content: dict[str, Any] = yaml.safe_load(read_text(file))
    content |= {"model_id": logged.model_id, "run_id": logged.source_run_id}
    return str(yaml.safe_dump(content, default_flow_style=False, allow_unicode=True))


def _send_file(client: MlflowClient, logged: LoggedModel, file: Path) -> None:
    send = _artifacts(client, logged).send
    if file.name != DESCRIPTION:
        send(str(file))
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / DESCRIPTION
        copy.write_text(_description_with_ids(file, logged))
        send(str(copy))


class _Artifacts(NamedTuple):
    """Two requests for the files of a model: to list them, and to send one more."""

    list: Callable[[], Sequence[FileInfo]]
    send: Callable[[str], None]


def _artifacts(client: MlflowClient, logged: LoggedModel) -> _Artifacts:
    place, model_id = logged.artifact_location, logged.model_id
    if place.startswith("file:"):  # the client would remember the place of another store's model
        folder: Any = LocalArtifactRepository(place)  # has no types
        return _Artifacts(folder.list_artifacts, folder.log_artifact)
    return _Artifacts(
        partial(client.list_logged_model_artifacts, model_id),
        partial(client.log_model_artifact, model_id),
    )


def _is_linked(client: MlflowClient, logged: LoggedModel, run_id: str) -> bool:
    outputs = client.get_run(run_id).outputs
    models = outputs.model_outputs if outputs else []
    return any(output.model_id == logged.model_id for output in models)


def _metrics_lacking(logged: LoggedModel, model: ModelOfRun) -> list[Metric]:
    stored = {(metric.key, metric.value) for metric in logged.metrics or []}
    wanted = model.metrics(logged.model_id)
    return [metric for metric in wanted if (metric.key, metric.value) not in stored]
