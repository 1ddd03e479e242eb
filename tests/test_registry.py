"""A run's model as a version of a registered model: once, in the run's own store."""

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from hydra import compose, initialize_config_dir
from mlflow import MlflowClient
from omegaconf import DictConfig

from xent_bench.commands import export
from xent_bench.config.identity import run_folder
from xent_bench.config.schema import CONF, register_schema
from xent_bench.export.mlflow_model import keep_model
from xent_bench.failures import DataError, Unavailable, UsageError
from xent_bench.runs.files import MODEL
from xent_bench.runs.model_folder import read_model_folder
from xent_bench.runs.result import load_run
from xent_bench.tracking.registry import Registered, check_name, register
from xent_bench.training.run import run

MLFLOW = str(Path(sys.executable).with_name("mlflow"))


@pytest.fixture(scope="module")
def trained(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    """The config of a run that was trained offline, so that its store is still empty."""
    root = tmp_path_factory.mktemp("registered")
    store = f"sqlite:///{shutil.copy(empty_store, root)}"
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["machine=cpu", "machine.threads=1", *SMALL])
    config.machine.runs, config.machine.tracking = str(root / "runs"), store
    config.experiment, config.machine.offline = "registered", True
    run(config, "xent-train")
    keep_model(run_folder(config))
    return config


@pytest.fixture
def folder_and_store(trained: DictConfig, empty_store: Path, tmp_path: Path) -> tuple[Path, str]:
    """A copy of the run's folder, and an empty store."""
    folder = tmp_path / "runs" / run_folder(trained).name
    shutil.copytree(run_folder(trained), folder)
    return folder, f"sqlite:///{shutil.copy(empty_store, tmp_path)}"


def test_a_run_is_registered_once_however_often_that_is_typed(folder_and_store):
    folder, store = folder_and_store
    first = register(folder, store, "digits", "champion")
    second = register(folder, store, "digits")

    assert first == Registered("digits", "1", True, store)
    assert second == Registered("digits", "1", False, store)
    client, result = MlflowClient(store), load_run(folder / "result.json")
    (version,) = client.search_model_versions("name = 'digits'")
    assert version.run_id == result.tags["mlflow_run_id"]
    assert (
        version.tags.items()
        >= {
            "key": result.tags["key"],
            "loss": "ce",
            "weights_sha256": result.tags["weights_sha256"],
        }.items()
    )
    assert client.get_model_version_by_alias("digits", "champion").version == version.version
    (model,) = client.search_logged_models([client.get_run(version.run_id).info.experiment_id])
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "digits", "version": "1"}]
    assert version.source == model.artifact_location


def test_a_second_run_is_the_next_version_and_takes_the_alias(folder_and_store, trained, tmp_path):
    folder, store = folder_and_store
    register(folder, store, "digits", "champion")
    other = trained.copy()
    other.seed, other.machine.runs = 1, str(tmp_path / "others")
    run(other, "xent-train")
    keep_model(run_folder(other))
    second = register(run_folder(other), store, "digits", "champion")
    again = register(folder, store, "digits")

    assert (second.address, second.is_new) == ("models:/digits/2", True)
    assert (again.address, again.is_new) == ("models:/digits/1", False)
    champion = MlflowClient(store).get_model_version_by_alias("digits", "champion")
    assert str(champion.version) == "2"


def test_a_version_predicts_by_the_command_that_is_shown(folder_and_store):
    folder, store = folder_and_store
    version = register(folder, store, "my digits")
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 8, 8), dtype=np.uint8)
    (folder / "images.json").write_text(json.dumps({"inputs": images.tolist()}))
    words = ["models", "predict", "-m", version.address, "-i", str(folder / "images.json")]
    words += ["-t", "json", "--env-manager", "local"]
    answer = subprocess.run(
        [MLFLOW, *words],
        env={"MLFLOW_TRACKING_URI": store, "PATH": "", "HOME": str(folder)},
        capture_output=True,
        check=True,
        text=True,
    )

    import onnxruntime  # MLflow's own loader uses it too

    session = onnxruntime.InferenceSession(folder / MODEL / "model.onnx")
    (expected,) = session.run(["probabilities"], {"images": images})
    predicted = json.loads(answer.stdout)["predictions"]["probabilities"]
    np.testing.assert_allclose(np.array(predicted), expected, atol=1e-7)
    assert version.command() == (
        f"MLFLOW_TRACKING_URI={store} mlflow models predict -m 'models:/my digits/1' "
        "-i images.json -t json --env-manager local"
    )
    assert version.page == (
        "http://127.0.0.1:5000/#/models/my%20digits/versions/1?workflowType=machine_learning"
    )


@pytest.mark.parametrize(
    ("name", "alias", "reason"),
    [
        ("a/b", None, "Names cannot contain '/' or ':'"),
        ("", None, "Missing value"),
        ("a\nb", None, "printable characters"),
        ("x" * 300, None, "at most 256"),
        ("digits", "latest", "'latest' alias name"),
        ("digits", "v1", "reserved"),
        ("digits", "the best", "Invalid alias name"),
    ],
)
def test_a_name_or_alias_that_mlflow_refuses_is_one_line(name, alias, reason):
    with pytest.raises(UsageError, match=reason) as refused:
        check_name(name, alias)

    assert "\n" not in str(refused.value)


def test_what_cannot_be_registered_is_said_in_one_line(folder_and_store, tmp_path):
    folder, store = folder_and_store
    with pytest.raises(Unavailable, match="no answer") as silent:
        register(folder, "http://127.0.0.1:9", "digits")
    with pytest.raises(Unavailable, match="no longer keeps runs in a folder"):
        register(folder, str(tmp_path / "mlruns"), "digits")
    shutil.rmtree(folder / MODEL)
    with pytest.raises(DataError, match="expected a model to register in"):
        register(folder, store, "digits")

    assert "\n" not in str(silent.value)
    assert MlflowClient(store).search_registered_models() == []


def typed(*words: object) -> int:
    """The exit code of xent-export with these words."""
    with pytest.raises(SystemExit) as ended:
        export.main([str(word) for word in words])
    return int(str(ended.value.code))


def test_the_command_registers_the_best_run_and_finds_its_version_again(
    folder_and_store, capsys, monkeypatch
):
    folder, store = folder_and_store
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    words = ("--register", "digits", "--alias", "champion", "--store", store)
    first = typed(folder.parent, *words)
    shown = capsys.readouterr()
    second = typed(folder, *words)
    again = capsys.readouterr()

    assert (first, second) == (0, 0)
    place, checked, predict, order, look = shown.out.splitlines()
    assert place == f"models:/digits/1, @champion: registered; {store}"
    assert checked.startswith("largest difference ")
    assert "over 120 test images x 10 classes" in checked
    assert predict.startswith(f"To predict: MLFLOW_TRACKING_URI={store} mlflow models predict -m ")
    assert Path(shlex.split(predict)[shlex.split(predict).index("-i") + 1]).is_file()
    assert Path(order.rpartition(" ")[2]).is_file()
    assert look.startswith("To look at it: xent-ui, then http://127.0.0.1:5000/#/models/digits/")
    assert "is the only loss on val" in shown.err
    state = "registered before, with the same weights"
    assert again.out.splitlines()[0] == f"models:/digits/1, @champion: {state}; {store}"
    assert again.err == ""
    assert len(MlflowClient(store).search_model_versions("name = 'digits'")) == 1


def test_the_command_writes_the_model_to_a_folder(folder_and_store, tmp_path, capsys):
    folder, _ = folder_and_store
    code = typed(folder, tmp_path / "winner", "--to", "mlflow", "--license", "mit")
    model = read_model_folder(tmp_path / "winner")

    assert code == 0
    assert "uint8 (n, 1, 8, 8) -> probabilities (n, 10)" in capsys.readouterr().out
    assert model.metadata["licence"] == "mit"
    assert "mlflow models predict -m FOLDER" in (tmp_path / "winner" / "README.md").read_text()
    onnx = (tmp_path / "winner" / "model.onnx").read_bytes()
    described = json.loads((tmp_path / "winner" / "model.json").read_text())
    assert described["file"]["sha256"] == hashlib.sha256(onnx).hexdigest()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ((), "expected RUN FOLDER and --to, or RUN and --register NAME"),
        (("winner", "--register", "digits"), "--register writes to MLflow: expected RUN and no"),
        (("winner", "--to", "onnx", "--alias", "best"), "--alias and --store go with --register"),
        (("--register", "a/b"), "Names cannot contain '/' or ':'"),
        (("--register", "digits", "--alias", "latest"), "'latest' alias name"),
    ],
)
def test_words_that_do_not_go_together_are_one_line(trained, words, complaint, capsys):
    code = typed(run_folder(trained), *words)
    error = capsys.readouterr().err

    assert code == 2
    assert error.startswith("xent-export: ")
    assert complaint in error
    assert error.count("\n") == 1


def test_a_model_that_differs_too_much_is_not_registered(folder_and_store, capsys):
    folder, store = folder_and_store
    shutil.rmtree(folder / MODEL)
    code = typed(folder, "--register", "digits", "--store", store, "--tolerance", "0")

    assert code == 1
    assert "largest difference" in capsys.readouterr().err
    assert not [file for file in folder.iterdir() if MODEL in file.name]
    assert MlflowClient(store).search_registered_models() == []
