"""A finished run leaves its scores, curves, config and weights in its folder and in MLflow."""

import json
import math

import pytest
import torch
from mlflow import MlflowClient
from omegaconf import OmegaConf
from trained_run import curve, mlflow_run, weights

from xent_bench.config.configure import configured
from xent_bench.config.identity import run_folder, run_key
from xent_bench.config.parts import checked
from xent_bench.data.split import split
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.curves import SECONDS, load_curves
from xent_bench.runs.files import RESULT, is_pending
from xent_bench.runs.result import Run, save_run
from xent_bench.tracking.logger import open_run
from xent_bench.training.run import run


def test_the_folder_holds_the_curves_the_last_val_scores_and_the_cost(config):
    wanted = config()
    result = run(wanted)
    curves = load_curves(run_folder(wanted))

    assert list(curves) == [1, 2, 3]
    for key in ("val/nll", "train/loss"):
        assert [(step, values[key]) for step, values in curves.items()] == curve(wanted, key)
    assert result["metrics"]["val/nll"] == curves[3]["val/nll"]
    assert "val/loss" not in result["metrics"]  # its unit is the loss's own
    seconds = sum(values[SECONDS] for values in curves.values())
    assert result["seconds"] > seconds
    trained = result["examples_per_second"] * seconds
    assert trained == pytest.approx(3 * len(split(configured(wanted, "data")(), 0).train))


def test_mlflow_holds_curves_scores_params_and_how_to_reproduce(config):
    wanted = config("loss=focal", "loss.gamma=3")
    run(wanted, command="xent-train loss=focal loss.gamma=3")
    stored = mlflow_run(wanted)

    assert stored.info.run_name == "focal-s0"
    assert stored.data.params["loss"] == "focal"
    assert stored.data.params["loss.gamma"] == "3.0"
    assert stored.data.params["optimizer.lr"] == "0.003"
    assert not [key for key in stored.data.params if key.startswith("machine")]
    tags = stored.data.tags
    assert {"commit", "dirty", "key", "hardware", "torch", "split_sha256"} <= tags.keys()
    assert "xent-train loss=focal loss.gamma=3" in tags["mlflow.note.content"]
    assert [step for step, _ in curve(wanted, "val/top1")] == [1, 2, 3]
    assert [step for step, _ in curve(wanted, "test/ece")] == [0]
    client = MlflowClient(wanted.machine.tracking)
    artifacts = client.list_artifacts(stored.info.run_id)
    assert [artifact.path for artifact in artifacts] == [
        *("config.yaml", "images.json", "net.json", "pictures", "predictions.npz"),
    ]


def test_the_stored_config_names_the_run(config):
    wanted = config()
    run(wanted)
    file = run_folder(wanted) / "config.yaml"

    assert run_key(OmegaConf.merge(wanted, OmegaConf.load(file))) == run_key(wanted)


def test_weights_are_kept_as_a_plain_state_dict_when_asked_for_also_afterwards(config):
    wanted = config("machine.save_weights=true")
    run(wanted)
    file = run_folder(wanted) / "weights.pt"
    state = torch.load(file, weights_only=True)
    net = configured(wanted, "model")((1, 8, 8), 10)
    net.load_state_dict(state)

    assert {f"net.{name}" for name in state} == weights(wanted).keys()
    kept = [
        artifact.path
        for artifact in MlflowClient(wanted.machine.tracking).list_artifacts(
            mlflow_run(wanted).info.run_id
        )
    ]
    assert "weights.pt" in kept
    file.unlink()
    run(wanted)
    assert file.exists()


def test_weights_that_mlflow_could_not_be_sent_are_sent_the_next_time(config):
    wanted = config()
    run(wanted)
    folder, run_id = run_folder(wanted), mlflow_run(wanted).info.run_id
    wanted.machine.save_weights = True
    store, wanted.machine.tracking = wanted.machine.tracking, "http://127.0.0.1:9"
    run(wanted)
    assert is_pending(folder)
    wanted.machine.tracking = store
    run(wanted)

    assert not is_pending(folder)
    kept = [artifact.path for artifact in MlflowClient(store).list_artifacts(run_id)]
    assert "weights.pt" in kept


def test_pictures_that_were_left_out_are_drawn_when_they_are_asked_for(config):
    whole, wanted = config(folder="whole"), config("machine.pictures=false")
    run(whole)
    run(wanted)
    folder, run_id = run_folder(wanted), mlflow_run(wanted).info.run_id
    before = (folder / RESULT).read_bytes()
    assert not (folder / "pictures").exists()
    run(wanted)
    assert not (folder / "pictures").exists()
    wanted.machine.pictures = True
    run(wanted)

    drawn = {file.name: file.read_bytes() for file in (folder / "pictures").iterdir()}
    assert drawn == {
        file.name: file.read_bytes() for file in (run_folder(whole) / "pictures").iterdir()
    }
    assert len(drawn) == 3
    assert (folder / RESULT).read_bytes() == before
    client = MlflowClient(wanted.machine.tracking)
    assert len(client.list_artifacts(run_id, "pictures")) == 3


def test_weights_are_not_kept_unasked(config):
    wanted = config()
    run(wanted)

    assert not (run_folder(wanted) / "weights.pt").exists()


def test_a_hyper_parameter_that_json_does_not_know_is_recorded(config, tmp_path, monkeypatch):
    (tmp_path / "rooted.py").write_text(
        "from pathlib import Path\n"
        "from xent_bench.data.image_set import ImageSet\n"
        "from xent_bench.data.synthetic import synthetic\n"
        "def rooted(*, n: int, root: Path) -> ImageSet:\n"
        "    assert isinstance(root, Path)\n"
        "    return synthetic(n=n)\n"
    )
    file = tmp_path / "conf" / "data" / "rooted.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("_target_: rooted.rooted\nn: 200\nroot: ???\n")
    monkeypatch.syspath_prepend(tmp_path)
    search = f"hydra.searchpath=[file://{tmp_path}/conf]"
    base = ("data=rooted", "data.root=images", "model=linear", "epochs=1", search)

    assert run(checked(config(base=base)))["params"]["data.root"] == "images"


def test_an_infinite_score_stays_out_of_the_charts(store, tmp_path):
    params = {"loss": "ce", "data": "digits", "model": "cnn", "seed": 0}
    begun = Unfinished("one", tmp_path.name, params, "")
    scores = {"test/nll": math.inf, "test/top1": 0.5}
    with open_run(tmp_path, begun, store) as tracking:
        save_run(Run("one", tmp_path.name, params, scores, {}, "", 9, 1.5), tmp_path)

    logged = MlflowClient(store).get_run(tracking.run_id).data.metrics
    assert logged == {"test/top1": 0.5, "time/seconds": 1.5}


def test_a_choice_written_for_hydra_s_instantiate_trains_to_the_same_key(config, tmp_path):
    file = tmp_path / "conf" / "loss" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text("_target_: xent_bench.losses.focal.focal\n_partial_: true\ngamma: 2.0\n")
    search = f"hydra.searchpath=[file://{tmp_path}/conf]"
    partial, plain = config("loss=mine", "epochs=1", search), config("loss=focal", "epochs=1")
    result = run(checked(partial))
    record = json.loads((run_folder(plain) / "net.json").read_text())

    assert partial.loss._partial_
    assert run_key(partial) == run_key(plain) == record["key"]
    assert run(checked(plain)) == result  # done before, by the other
    assert record["loss"] == {"_target_": "xent_bench.losses.focal.focal", "gamma": 2.0}
