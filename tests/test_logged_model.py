"""The net of a run as a model in MLflow: exactly one, whatever happened on the way to it."""

import json
import math
import os
import shutil
import sqlite3
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import SMALL
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, ViewType
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from omegaconf import DictConfig
from torch import Tensor, nn

from xent_bench.calibrators.temperature import scale
from xent_bench.config import parts
from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.identity import run_folder, run_key
from xent_bench.config.schema import CONF, register_schema
from xent_bench.export.mlflow_model import input_example
from xent_bench.failures import DataError, Unavailable
from xent_bench.links import use
from xent_bench.runs.files import MODEL, PREDICTIONS, is_pending
from xent_bench.runs.lacking import Asked, Lack, lacking
from xent_bench.runs.model_folder import DESCRIPTION, GRAPH, read_model_folder
from xent_bench.runs.predictions import load as load_predictions
from xent_bench.runs.removed import bring_back, put_away, removed_place
from xent_bench.runs.result import load_run
from xent_bench.tracking.moved import settle_artifacts
from xent_bench.tracking.removal import delete_in_mlflow, restore_in_mlflow
from xent_bench.tracking.send import send
from xent_bench.trained_net.record import load_record
from xent_bench.training.run import run
from xent_bench.types import Index, Logits, PerExample

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of MLflow about its own annotations
    import mlflow.pyfunc

NAME = "logged"


@pytest.fixture(scope="module")
def logged(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    """The config of a run that was trained with machine.log_model. Tests leave it as it is."""
    root = tmp_path_factory.mktemp("logged")
    store = f"sqlite:///{shutil.copy(empty_store, root)}"
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["machine=cpu", "machine.threads=1", "seed=3", *SMALL])
    config.machine.runs, config.machine.tracking = str(root / "runs"), store
    config.experiment, config.machine.log_model = NAME, True
    run(config, "xent-train")
    return config


@pytest.fixture
def copied(logged: DictConfig, tmp_path: Path) -> tuple[Path, str]:
    """A copy of the run's folder and of its store, to be changed."""
    root = run_folder(logged).parents[2]
    shutil.copytree(root, tmp_path / "copy")
    place = tmp_path / "copy" / run_folder(logged).relative_to(root)
    settle_artifacts(tmp_path / "copy" / "mlflow.db")
    return place, f"sqlite:///{tmp_path}/copy/mlflow.db"


def models(store: str) -> list[LoggedModel]:
    """The models in the experiment that are not deleted."""
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(NAME)
    assert experiment is not None
    return list(client.search_logged_models([experiment.experiment_id]))


def assert_whole(store: str, folder: Path) -> LoggedModel:
    """One model, with all that the folder has of it, and no point of its run twice."""
    client, result = MlflowClient(store), load_run(folder / "result.json")
    (model,) = models(store)
    stored = client.get_run(str(model.source_run_id))
    assert model.status == "READY"
    assert stored.outputs is not None
    assert [output.model_id for output in stored.outputs.model_outputs] == [model.model_id]
    finite = {key: value for key, value in result.metrics.items() if math.isfinite(value)}
    assert {metric.key: metric.value for metric in model.metrics or []} == finite
    assert len(model.metrics or []) == len(finite)
    digest = result.tags["data_sha256"][:36]
    assert {(m.dataset_name, m.dataset_digest) for m in model.metrics or []} == {
        ("synthetic", digest)
    }
    for key in ("test/nll", "test_ts/ece"):
        assert len(client.get_metric_history(str(model.source_run_id), key)) == 1
    assert len(client.get_metric_history(str(model.source_run_id), "val/nll")) == 3
    wanted = {file.name: file.stat().st_size for file in (folder / MODEL).iterdir()}
    listed = client.list_logged_model_artifacts(model.model_id)
    sizes = {file.path: file.file_size for file in listed}
    assert sizes.keys() == wanted.keys()
    assert sizes[GRAPH] == wanted[GRAPH]
    return model


def test_a_run_that_logs_its_model_ends_with_one_beside_its_metrics(logged):
    folder, store = run_folder(logged), logged.machine.tracking
    model = assert_whole(store, folder)

    result = load_run(folder / "result.json")
    assert (model.name, model.model_type) == ("ce-s3", "classifier")
    assert (
        model.tags.items()
        >= {
            "key": result.tags["key"],
            "loss": "ce",
            "weights_sha256": result.tags["weights_sha256"],
        }.items()
    )
    assert model.params == {key: str(value) for key, value in result.params.items()}
    assert not is_pending(folder)


def test_a_run_has_the_same_key_with_and_without_its_model(config):
    assert run_key(config()) == run_key(config("machine.log_model=true"))


def test_the_logged_model_gives_the_stored_probabilities_of_test_again(logged):
    folder = run_folder(logged)
    test, record = load_predictions(folder / PREDICTIONS), load_record(folder)
    images = configured(logged, "data")().images[test.test.id].numpy()
    expected = np.exp(
        scale(test.test.outputs.astype(float), link=test.link, temperature=record.temperature)
    )
    (model,) = models(logged.machine.tracking)
    loaded = mlflow.pyfunc.load_model(model.artifact_location)
    probabilities = loaded.predict(images)["probabilities"]

    assert images.dtype == np.uint8
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities - expected).max() < 2e-6
    assert loaded.metadata.model_id == model.model_id
    assert loaded.metadata.metadata["classes"] == list(record.classes)
    with pytest.raises(mlflow.exceptions.MlflowException, match="schema"):
        loaded.predict(images.astype(np.float32))


def test_no_file_of_a_model_is_a_pickle(logged):
    for file in (run_folder(logged) / MODEL).iterdir():
        assert file.suffix in {"", ".yaml", ".json", ".txt", ".md", ".onnx", ".png"}
        assert not file.read_bytes().startswith((b"\x80", b"PK"))


def test_a_finished_run_that_is_typed_with_log_model_adds_it_and_trains_nothing(config):
    wanted = config()
    done = run(wanted)
    folder = run_folder(wanted)
    checkpoints = sorted(folder.glob("*.ckpt"))
    times = [file.stat().st_mtime_ns for file in checkpoints]
    before = lacking(folder, Asked(model=True))
    wanted.machine.log_model = True
    again = run(wanted)

    assert (before, lacking(folder, Asked(model=True))) == (Lack.MODEL, Lack(0))
    assert again == done
    assert [file.stat().st_mtime_ns for file in checkpoints] == times
    client = MlflowClient(wanted.machine.tracking)
    experiment = client.get_experiment_by_name(wanted.experiment)
    assert experiment is not None
    (model,) = client.search_logged_models([experiment.experiment_id])
    assert model.source_run_id == done["tags"]["mlflow_run_id"]


def test_a_model_of_an_offline_run_is_sent_later_and_once(logged, empty_store, sync, tmp_path):
    folder = tmp_path / "runs" / run_folder(logged).name
    shutil.copytree(run_folder(logged), folder)
    for name in ("mlflow_run_id", "not_in_mlflow"):
        (folder / name).unlink(missing_ok=True)
    (folder / "not_in_mlflow").touch()
    store = f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
    first, second = (sync(folder.parent, "--store", store) for _ in range(2))

    assert first[1].endswith("1 run: 1 sent, FINISHED\n")
    assert second[1].startswith("Nothing to send")
    assert_whole(store, folder)


CUTS = (
    (MlflowClient, "create_logged_model"),
    (LocalArtifactRepository, "log_artifact"),
    (MlflowClient, "log_outputs"),
    (MlflowClient, "log_batch"),
    (MlflowClient, "finalize_logged_model"),
)


@pytest.mark.parametrize(("client", "name"), CUTS, ids=[name for _, name in CUTS])
def test_an_upload_that_is_killed_after_a_request_goes_on_to_one_model(
    copied, monkeypatch, client, name
):
    class PowerCut(BaseException):
        pass

    folder, store = copied
    (model,) = models(store)
    MlflowClient(store).delete_logged_model(model.model_id)
    with sqlite3.connect(store.removeprefix("sqlite:///")) as base:
        base.execute("DELETE FROM inputs WHERE source_type = 'RUN_OUTPUT'")
    ask = getattr(client, name)

    def cut(*words: object, **named: object) -> None:
        ask(*words, **named)
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(client, name, cut)
        with pytest.raises(PowerCut):
            send(folder, store)
    send(folder, store)

    assert assert_whole(store, folder).model_id != model.model_id


def test_a_sync_mends_a_model_that_was_deleted_or_damaged_in_mlflow(copied, sync):
    folder, store = copied
    (model,) = models(store)
    artifacts = Path(model.artifact_location.removeprefix("file://"))
    (artifacts / GRAPH).unlink()
    damaged = sync(folder.parent, "--store", store, "--check")
    mended = (artifacts / GRAPH).is_file()
    MlflowClient(store).delete_logged_model(model.model_id)
    deleted = sync(folder.parent, "--store", store)
    same = sync(folder.parent, "--store", store, "--check")

    assert f"missing or different in MLflow: {MODEL}/{GRAPH}; sent, FINISHED" in damaged[1]
    assert mended
    assert "missing or different in MLflow: the model; sent, FINISHED" in deleted[1]
    assert same == (0, "1 run compared with MLflow, 1 as they should be\n")
    assert len(models(store)) == 1


def test_a_metric_that_is_added_to_a_run_reaches_its_model(copied, sync):
    from xent_bench.evaluation.rescore import rescore

    folder, store = copied
    rescore(folder, ["vector_scaling"], offline=True)
    sync(folder.parent, "--store", store)

    assert "test_vs/nll" in load_run(folder / "result.json").metrics
    assert_whole(store, folder)


def test_a_run_that_is_removed_takes_its_model_along_and_brings_it_back(copied, monkeypatch):
    folder, store = copied
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    _name_no_store(folder)
    put_away(folder)
    delete_in_mlflow(removed_place(folder))
    gone = models(store)
    bring_back(folder)
    restore_in_mlflow(folder)
    marked = is_pending(folder)
    send(folder, store)

    assert (gone, marked) == ([], True)
    assert [model.status for model in models(store)] == ["READY"]


def test_a_registered_model_outlives_its_run(copied, monkeypatch):
    folder, store = copied
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    _name_no_store(folder)
    client, (model,) = MlflowClient(store), models(store)
    client.create_registered_model("digits")
    client.create_model_version("digits", model.artifact_location, model.source_run_id)
    delete_in_mlflow(folder)

    assert [kept.model_id for kept in models(store)] == [model.model_id]


def test_a_run_that_gives_way_to_a_later_training_takes_its_model_along(copied, tmp_path):
    folder, store = copied
    later = tmp_path / "later" / folder.name
    shutil.copytree(folder, later)
    (later / "mlflow_run_id").unlink()
    begun = (later / "begun.json").read_text()
    begun = yaml.safe_load(begun)
    begun["started"] += 60
    begun.pop("sha256")
    (later / "begun.json").write_text(json.dumps(begun))
    result = later / "result.json"
    os.utime(result, (result.stat().st_atime, result.stat().st_mtime + 60))
    (first,) = models(store)
    send(later, store)
    (last,) = models(store)

    assert last.model_id != first.model_id
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name(NAME)
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], run_view_type=ViewType.DELETED_ONLY)
    assert [stored.info.run_id for stored in runs] == [first.source_run_id]


def _name_no_store(folder: Path) -> None:
    """Let the config of a run name no store, so that the user's own is its store."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["machine"]["tracking"] = None
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_a_project_that_was_moved_finds_its_models_and_versions(copied):
    folder, store = copied
    file = Path(store.removeprefix("sqlite:///"))
    client, (model,) = MlflowClient(store), models(store)
    client.create_registered_model("digits")
    client.create_model_version("digits", model.artifact_location, model.source_run_id)
    moved = file.parent.with_name("moved")
    file.parent.rename(moved)
    settle_artifacts(moved / file.name)

    store = f"sqlite:///{moved / file.name}"
    (model,) = models(store)
    version = MlflowClient(store).get_model_version("digits", "1")
    place = moved / folder.relative_to(file.parent).parent / "mlflow" / "models" / model.model_id
    assert model.artifact_location == version.source == (place / "artifacts").as_uri()
    assert mlflow.pyfunc.load_model(model.artifact_location).metadata.model_id == model.model_id


def _code(folder: Path) -> None:
    file = folder / DESCRIPTION
    content = yaml.safe_load(file.read_text())
    content["flavors"]["python_function"]["loader_module"] = "mlflow.pyfunc.model"
    file.write_text(yaml.safe_dump(content))


def _package(folder: Path) -> None:
    (folder / "requirements.txt").write_text("mlflow\nevil @ file:///tmp/evil")


def _index(folder: Path) -> None:
    (folder / "conda.yaml").write_text("channels: [evil]\ndependencies: [python=3.11]")


def _link(folder: Path) -> None:
    (folder / GRAPH).unlink()
    (folder / GRAPH).symlink_to("/etc/hostname")


def _more(folder: Path) -> None:
    (folder / "loader.py").write_text("")


def _bomb(folder: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]
    (folder / DESCRIPTION).write_text("\n".join(lines))


def _other_weights(folder: Path) -> None:
    text = (folder / DESCRIPTION).read_text()
    content = yaml.safe_load(text)
    content["metadata"]["weights_sha256"] = "0" * 64
    (folder / DESCRIPTION).write_text(yaml.safe_dump(content))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (_code, "expected mlflow.onnx to load it, and no code"),
        (_package, "expected packages among mlflow"),
        (_index, "expected packages of conda-forge"),
        (_link, "model.onnx: expected a file, got a link"),
        (_more, "expected the files of an exported net, got loader.py"),
        (_bomb, "MLmodel: expected no aliases"),
        (_other_weights, "expected the weights that were tested"),
    ],
)
def test_a_model_that_could_run_code_or_is_of_another_net_is_not_sent(
    copied, damage: Callable[[Path], None], reason: str
):
    folder, store = copied
    damage(folder / MODEL)
    with pytest.raises(DataError, match=reason) as refused:
        send(folder, store)

    assert "\n" not in str(refused.value)
    assert len(models(store)) == 1


def test_what_a_run_writes_as_its_model_is_read_as_one_of_ours(logged):
    folder = read_model_folder(run_folder(logged) / MODEL)

    assert folder.metadata["weights_sha256"] == load_record(run_folder(logged)).weights_sha256
    assert {file.name for file in folder.files} >= {DESCRIPTION, GRAPH, "requirements.txt"}


def squares(outputs: np.ndarray) -> np.ndarray:
    """A link of a user's own: log(z^2 + 1), normalised over classes."""
    scores = outputs**2 + 1
    log_p: np.ndarray = np.log(scores / scores.sum(axis=1, keepdims=True))
    return log_p


@use(squares)
def by_squares(logits: Logits, target: Index) -> PerExample:
    scores = logits**2 + 1
    return -(scores / scores.sum(1, keepdim=True)).log().gather(1, target[:, None])[:, 0]


def test_a_link_that_no_graph_can_hold_is_refused_before_training(config):
    wanted = config("loss=own", f"loss._target_={__name__}.by_squares", "machine.log_model=true")
    with pytest.raises(ConfigError, match=r"machine\.log_model: cannot export the link") as refused:
        run(wanted)

    assert "squares: it is written for NumPy" in str(refused.value)
    assert not run_folder(wanted).exists()


def test_a_model_without_the_packages_that_write_it_is_refused_before_training(config, monkeypatch):
    monkeypatch.setattr(parts, "OF_MODELS", ("no_such_package",))
    wanted = config("machine.log_model=true")
    with pytest.raises(
        ConfigError, match=r"machine.log_model: needs pip install 'xent-bench\[onnx"
    ):
        run(wanted)

    assert not run_folder(wanted).exists()


class Undecided(nn.Module):
    """A net whose next step depends on its numbers, which no graph can hold."""

    def __init__(self, pixels: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(pixels, classes)

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.linear(images.flatten(1))
        return outputs * 2 if outputs.sum() > 0 else outputs


def undecided(shape: tuple[int, int, int], classes: int) -> nn.Module:
    return Undecided(math.prod(shape), classes)


def test_a_net_that_cannot_be_exported_keeps_its_result_and_says_why_it_has_no_model(config):
    wanted = config(
        *("model=own", f"model._target_={__name__}.undecided", "machine.log_model=true"),
        base=("data=synthetic", "data.n=600", "epochs=1"),
    )
    with pytest.raises(Unavailable) as refused:
        run(wanted)

    folder = run_folder(wanted)
    line = str(refused.value)
    assert line.startswith(f"{folder.name} is trained and its result is kept, but it has no model")
    assert "torch.export cannot record the net" in line
    assert "\n" not in line
    stored = MlflowClient(wanted.machine.tracking).get_run(
        load_run(folder / "result.json").tags["mlflow_run_id"]
    )
    assert stored.info.status == "FINISHED"
    assert not [file for file in folder.iterdir() if MODEL in file.name]


@pytest.mark.parametrize(
    ("taken", "shape", "ends"),
    [
        ({"dtype": "uint8", "shape": ["n", 3, "height", "width"]}, (1, 3, 32, 32), (0, 255)),
        ({"dtype": "uint8", "shape": ["n", 1, 8, 6]}, (1, 1, 8, 6), (0, 255)),
        ({"dtype": "float32", "shape": ["n", 5]}, (1, 5), (1, 1)),
    ],
)
def test_the_example_of_an_input_has_the_form_that_is_described(taken, shape, ends):
    example = input_example(taken)

    assert (example.dtype, example.shape) == (np.dtype(taken["dtype"]), shape)
    assert (example.min(), example.max()) == ends
