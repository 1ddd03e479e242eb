"""One run from config to result: the same numbers again, whatever happened in between."""

import importlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.entities import Run as StoredRun
from mlflow.exceptions import MlflowException
from omegaconf import DictConfig, OmegaConf

from xent_bench.config.configure import ConfigError, checked, configured
from xent_bench.config.identity import run_folder, run_key
from xent_bench.data import synthetic as synthetic_module
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import split
from xent_bench.failures import DataError, Diverged
from xent_bench.links import projection
from xent_bench.metrics.score import score
from xent_bench.runs.begun import Unfinished, load_unfinished
from xent_bench.runs.curves import SECONDS, load_curves
from xent_bench.runs.files import is_pending
from xent_bench.runs.predictions import load
from xent_bench.runs.result import Run, save_run
from xent_bench.tracking.logger import open_run
from xent_bench.training.checkpoint_files import LastingCheckpointIO, last_checkpoint
from xent_bench.training.run import run

XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))


class PowerCut(BaseException):
    """Ends a run where it stands. (Of real SIGKILLs there are some in test_stress.)"""


def weights(config: DictConfig) -> dict[str, torch.Tensor]:
    last, _ = last_checkpoint(run_folder(config))
    return torch.load(last, weights_only=True)["state_dict"]


def assert_same_weights(one: DictConfig, other: DictConfig) -> None:
    a, b = weights(one), weights(other)
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def mlflow_run(config: DictConfig) -> StoredRun:
    """The only one of its key."""
    client = MlflowClient(config.machine.tracking)
    experiment = client.get_experiment_by_name(config.experiment)
    (found,) = client.search_runs([experiment.experiment_id], f"tags.key = '{run_key(config)}'")
    return found


def curve(config: DictConfig, key: str) -> list[tuple[int, float]]:
    """Every stored point, duplicates too."""
    client = MlflowClient(config.machine.tracking)
    history = client.get_metric_history(mlflow_run(config).info.run_id, key)
    return sorted((point.step, point.value) for point in history)


def untimed(config: DictConfig) -> list[tuple[int, dict[str, float]]]:
    """The curves in the run's folder, without when, and how long it took."""
    steps = load_curves(run_folder(config)).items()
    return [(k, {key: v for key, v in each.items() if key[:5] != "time/"}) for k, each in steps]


def test_ce_and_sparse_ce_end_with_the_same_weights_bit_for_bit(config):
    dense, sparse = config("loss=ce", "model=cnn"), config("loss=sparse_ce", "model=cnn")
    a, b = run(dense), run(sparse)

    assert_same_weights(dense, sparse)
    assert a["tags"]["weights_sha256"] == b["tags"]["weights_sha256"]
    assert a["metrics"] == b["metrics"]


def test_another_loss_ends_elsewhere(config):
    assert (
        run(config("loss=mse"))["tags"]["weights_sha256"]
        != run(config("loss=ce"))["tags"]["weights_sha256"]
    )


def test_a_finished_run_is_returned_and_not_trained_again(config, monkeypatch):
    first = run(config())
    monkeypatch.setattr(
        "xent_bench.training.attempt.attempt", lambda *_: pytest.fail("trained again")
    )

    assert run(config()) == first


@pytest.fixture
def dropout_net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The override that chooses a net whose every step draws at random."""
    (tmp_path / "dropping.py").write_text(
        "from torch import nn\n"
        "def net(shape, classes, *, width=16, depth=2):\n"
        "    channels, h, w = shape\n"
        "    hidden = nn.Sequential(nn.Flatten(), nn.Linear(channels * h * w, width), nn.ReLU())\n"
        "    return nn.Sequential(hidden, nn.Dropout(0.5), nn.Linear(width, classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "model._target_=dropping.net"


@pytest.mark.parametrize("epoch", [1, 2, 3])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_interrupted_run_resumes_to_the_same_numbers(
    config, monkeypatch, dropout_net, epoch, moment
):
    random = (dropout_net, "loss=focal", "data.flip=true", "data.crop=1")
    straight, cut = config(*random, folder="straight"), config(*random, folder="cut")
    save, saved, resumed = LastingCheckpointIO.save_checkpoint, [], []
    monkeypatch.setattr("xent_bench.training.saving.SHARE", math.inf)  # after every epoch

    def cut_the_power(*arguments: object, **options: object) -> None:
        saved.append(None)
        if len(saved) == epoch and moment == "before":
            raise PowerCut
        save(*arguments, **options)
        if len(saved) == epoch:
            raise PowerCut

    run(straight)
    with monkeypatch.context() as patch:
        patch.setattr(LastingCheckpointIO, "save_checkpoint", cut_the_power)
        with pytest.raises(PowerCut):
            run(cut)
    with monkeypatch.context() as patch:
        patch.setattr(
            LastingCheckpointIO,
            "save_checkpoint",
            lambda *arguments, **options: (resumed.append(None), save(*arguments, **options)),
        )
        run(cut)

    # it went on: a run begun afresh would end with the same numbers too
    assert len(resumed) == 3 - (epoch if moment == "after" else epoch - 1)
    assert_same_weights(straight, cut)
    for key in ("val/nll", "train/loss", "test/nll", "test_ts/ece"):
        assert curve(cut, key) == curve(straight, key)
    assert untimed(cut) == untimed(straight)
    ended = mlflow_run(cut)
    assert ended.info.status == "FINISHED"
    assert "failure" not in ended.data.tags


@pytest.mark.parametrize("function", ["save", "evaluate", "weights_sha256"])
def test_a_run_cut_after_training_only_evaluates_again(config, monkeypatch, function):
    straight, cut = config(folder="straight"), config(folder="cut")

    def cut_the_power(*_: object) -> None:
        raise PowerCut

    expected = run(straight)
    with monkeypatch.context() as patch:
        patch.setattr(f"xent_bench.training.fit.{function}", cut_the_power)
        with pytest.raises(PowerCut):
            run(cut)

    assert run(cut)["metrics"] == expected["metrics"]
    assert curve(cut, "test/nll") == curve(straight, "test/nll")
    assert curve(cut, "val/nll") == curve(straight, "val/nll")


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


def test_a_run_without_a_result_says_why_and_whether_it_still_runs(config, monkeypatch):
    cut = config(folder="cut")
    with monkeypatch.context() as patch:
        patch.setattr(
            "xent_bench.training.fit.evaluate", lambda *_: (_ for _ in ()).throw(PowerCut("zap"))
        )
        with pytest.raises(PowerCut):
            run(cut, "xent-train loss=ce")
    (ended,) = load_unfinished(run_folder(cut).parent)
    with FileLock(run_folder(cut) / ".lock"):
        (running,) = load_unfinished(run_folder(cut).parent)

    assert (ended.name, ended.command) == ("ce-s0", "xent-train loss=ce")
    assert ended.reason == "PowerCut: zap"
    assert running.reason == "still running"
    run(cut)
    assert load_unfinished(run_folder(cut).parent) == []


def test_mlflow_holds_curves_scores_params_and_how_to_reproduce(config):
    wanted = config("loss=focal", "loss.gamma=3")
    run(wanted, command="xent-train loss=focal loss.gamma=3")
    found = mlflow_run(wanted)

    assert found.info.run_name == "focal-s0"
    assert found.data.params["loss"] == "focal"
    assert found.data.params["loss.gamma"] == "3.0"
    assert found.data.params["optimizer.lr"] == "0.003"
    assert not [key for key in found.data.params if key.startswith("machine")]
    tags = found.data.tags
    assert {"commit", "dirty", "key", "hardware", "torch", "split_sha256"} <= tags.keys()
    assert "xent-train loss=focal loss.gamma=3" in tags["mlflow.note.content"]
    assert [step for step, _ in curve(wanted, "val/top1")] == [1, 2, 3]
    assert [step for step, _ in curve(wanted, "test/ece")] == [0]
    client = MlflowClient(wanted.machine.tracking)
    artifacts = client.list_artifacts(found.info.run_id)
    assert [artifact.path for artifact in artifacts] == [
        *("config.yaml", "net.json", "pictures", "predictions.npz"),
    ]


def test_the_stored_config_names_the_run(config):
    wanted = config()
    run(wanted)
    file = run_folder(wanted) / "config.yaml"

    assert run_key(OmegaConf.merge(wanted, OmegaConf.load(file))) == run_key(wanted)


@pytest.mark.parametrize("spelling", ["2", "2.0", "2e0"])
def test_a_number_spelled_otherwise_goes_on_with_the_same_run(config, monkeypatch, spelling):
    with monkeypatch.context() as patch:
        patch.setattr("xent_bench.training.fit.save", lambda *_: pytest.fail("cut"))
        with pytest.raises(pytest.fail.Exception):
            run(config("loss=focal", "loss.gamma=2"))

    wanted = config("loss=focal", f"loss.gamma={spelling}")
    assert run(wanted)["params"]["loss.gamma"] == 2.0
    assert mlflow_run(wanted).info.status == "FINISHED"


def test_a_run_with_the_same_key_elsewhere_is_left_alone(config):
    mine = config()
    client = MlflowClient(mine.machine.tracking)
    experiment = client.create_experiment(mine.experiment)
    theirs = client.create_run(experiment, tags={"key": run_key(mine), "owner": "somebody"})
    result = run(mine)

    assert result["tags"]["mlflow_run_id"] != theirs.info.run_id
    assert client.get_run(theirs.info.run_id).info.status == "RUNNING"


def test_a_run_whose_tracking_dies_in_the_middle_is_done_and_sent_when_typed_again(
    config, monkeypatch, capsys
):
    def die(*_: object, **__: object) -> None:
        raise MlflowException("gone")

    wanted = config()
    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.set_terminated", die)
        done = run(wanted)
    told = capsys.readouterr().err
    status = mlflow_run(wanted).info.status
    again = run(wanted)

    folder = run_folder(wanted)
    assert f"ce-s0: MLflow at {wanted.machine.tracking}: gone; kept in {folder}" in told
    assert status == "RUNNING"
    assert mlflow_run(wanted).info.status == "FINISHED"
    assert again == done
    assert [step for step, _ in curve(wanted, "val/nll")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["data=fashion_mnist", "data.root=nowhere"], 3, "four files not found in nowhere"),
        (["machine.tracking=sqlite:////proc/nope/x.db"], 4, "MLflow at sqlite:////proc/nope/x.db"),
        (["model=resnet18", "batch_size=1"], 2, "model: cannot train on a batch of shape"),
    ],
)
def test_each_kind_of_failure_has_its_exit_code(tmp_path, arguments, code, complaint):
    done = subprocess.run(
        [XENT_TRAIN, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == code
    assert complaint in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_batch_larger_than_the_training_set_is_refused(config):
    with pytest.raises(ConfigError, match="expected at most the 336 images of train"):
        run(config("batch_size=5000"))


def test_a_margin_loss_reports_nothing_that_needs_probabilities_before_scaling(config):
    wanted = config("loss=hinge")
    metrics = run(wanted)["metrics"]
    reported = {"top1", "top5", "ties", "balanced_top1", "aurc", "eaurc", "auroc_correct"}

    tested = reported | {"excess_risk"}  # against p(y|x), which a synthetic set knows
    assert {key for key in metrics if key.startswith("test/")} == {f"test/{k}" for k in tested}
    assert {"test_ts/nll", "test_ts/brier", "test_ts/ece"} <= metrics.keys()
    logged = mlflow_run(wanted).data.metrics
    expected = {f"val/{key}" for key in reported | {"loss"}}
    assert {key for key in logged if key.startswith("val/")} == expected


def test_the_link_of_square_is_what_its_scores_are_read_by(config):
    wanted = config("loss=square", "loss.M=2.0")
    metrics = run(wanted)["metrics"]
    test = load(run_folder(wanted) / "predictions.npz").test

    projected = score(test.outputs, test.target, partial(projection, M=2.0))
    assert {key: metrics[f"test/{key}"] for key in projected} == projected
    logged = mlflow_run(wanted).data.metrics
    assert ("test/nll" in logged) == math.isfinite(metrics["test/nll"])


def test_a_diverged_run_stops_with_epoch_and_step_and_is_failed_in_mlflow(config):
    wanted = config("optimizer=sgd", "optimizer.lr=1e30")
    with pytest.raises(Diverged, match=r"the loss became nan in epoch 1, step \d+: a smaller"):
        run(wanted)

    found = mlflow_run(wanted)
    assert found.info.status == "FAILED"
    assert "epoch 1, step" in found.data.tags["failure"]
    (ended,) = load_unfinished(run_folder(wanted).parent)
    assert ended.reason.startswith("Diverged: the loss became nan in epoch 1, step")
    assert not (run_folder(wanted) / "result.json").exists()


def test_bf16_trains_and_computes_the_loss_in_float32(config, tmp_path, monkeypatch):
    (tmp_path / "watching.py").write_text(
        "import torch\n"
        "from xent_bench.types import Index, Logits, PerExample\n"
        "seen = set()\n"
        "def watched(logits: Logits, target: Index) -> PerExample:\n"
        "    product = logits @ torch.eye(logits.shape[1])\n"  # which autocast would cast
        "    in_bf16 = torch.equal(logits, logits.bfloat16().float())\n"
        "    seen.add((logits.dtype, product.dtype, in_bf16))\n"
        "    return torch.nn.functional.cross_entropy(logits, target, reduction='none')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    metrics = run(config("precision=bf16", "loss._target_=watching.watched"))["metrics"]

    seen = importlib.import_module("watching").seen
    # the try-out's zeros, the net's outputs that had been bfloat16
    assert seen == {(torch.float32, torch.float32, True)}
    assert math.isfinite(metrics["test/nll"])


def test_soft_labels_are_refused_by_a_loss_that_takes_an_index(config, monkeypatch):
    hard: Callable[..., ImageSet] = synthetic_module.synthetic

    def soft(*, n: int, **_: float) -> ImageSet:
        data = hard(n=n)
        rows = torch.full((n, 10), 0.05).double().scatter(1, data.labels[:, None], 0.55)
        return ImageSet(data.images, rows, data.classes)

    monkeypatch.setattr(synthetic_module, "synthetic", soft)

    for loss in ("ce", "huber"):
        assert math.isfinite(run(config(f"loss={loss}"))["metrics"]["test/brier"])
    with pytest.raises(ConfigError, match="choose a loss that takes a distribution, ce for one"):
        run(config("loss=sparse_ce"))


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (
            "def mine(logits, target: Index) -> PerExample: return logits.mean()",
            "one value an exam",
        ),
        ("def mine(logits, target): return logits.mean(1)", "annotated Index or Distribution"),
        ("def mine(logits, target: Index) -> PerExample: raise KeyError('x')", "KeyError: 'x'"),
        (
            "def mine(logits, target: Index) -> PerExample: return logits.mean(1)\n"
            "mine.link = lambda logits: logits",
            "expected its link's probabilities to sum to 1",
        ),
        (
            "from xent_bench.links import softmax\n"
            "def mine(logits, target: Index) -> PerExample: return logits.square().mean(1)\n"
            "mine.link = lambda logits: softmax(logits)",
            "expected its link at the top level of a module, got <lambda>",
        ),
    ],
)
def test_a_loss_that_breaks_the_contract_fails_before_the_first_epoch(
    config, tmp_path, monkeypatch, source, complaint
):
    name = f"broken_{abs(hash(source))}"
    header = "from xent_bench.types import Index, PerExample\n"
    (tmp_path / f"{name}.py").write_text(header + source)
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ConfigError, match=complaint):
        run(config("loss._target_=" + name + ".mine"))


def test_a_loss_and_its_link_get_the_class_counts_of_train_when_they_ask(
    config, tmp_path, monkeypatch
):
    (tmp_path / "prior.py").write_text(
        "import numpy as np\n"
        "from xent_bench import links\n"
        "from xent_bench.types import ClassCounts, Index, Logits, PerExample\n"
        "seen = []\n"
        "def with_prior(outputs, *, class_counts):\n"
        "    seen.append(class_counts)\n"
        "    return links.softmax(outputs + np.log(class_counts))\n"
        "@links.use(with_prior)\n"
        "def mine(logits: Logits, target: Index, *, class_counts: ClassCounts) -> PerExample:\n"
        "    seen.append(class_counts)\n"
        "    log_p = (logits + class_counts.log()).log_softmax(1)\n"
        "    return -log_p[range(len(target)), target]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    result = run(config("loss._target_=prior.mine", "data.n=605"))

    data = synthetic_module.synthetic(n=605)
    expected = data.labels[split(data, seed=0).train].bincount()
    assert len(set(expected.tolist())) > 1
    seen = importlib.import_module("prior").seen
    assert {type(counts) for counts in seen} == {np.ndarray, torch.Tensor}
    assert all(counts.tolist() == expected.tolist() for counts in seen)
    assert result["metrics"]["test/nll"] < math.log(10)


def test_a_class_without_an_image_in_train_is_refused_by_a_loss_that_divides_by_its_count(
    config, monkeypatch
):
    full: Callable[..., ImageSet] = synthetic_module.synthetic

    def without_the_last(*, n: int, **_: float) -> ImageSet:
        data = full(n=n)
        return ImageSet(data.images, data.labels.clamp_max(8), data.classes)

    monkeypatch.setattr(synthetic_module, "synthetic", without_the_last)

    assert math.isfinite(run(config("loss=sparse_ce"))["metrics"]["test/nll"])
    with pytest.raises(ConfigError, match="an image of every class in train, got none of class 9"):
        run(config("loss=weighted_ce"))


def test_weights_are_kept_as_a_plain_state_dict_when_asked_for_also_afterwards(config):
    wanted = config("machine.save_weights=true")
    run(wanted)
    file = run_folder(wanted) / "weights.pt"
    state = torch.load(file, weights_only=True)
    net = configured(wanted, "model")((1, 8, 8), 10)
    net.load_state_dict(state)

    assert {f"net.{name}" for name in state} == weights(wanted).keys()
    kept = [
        each.path
        for each in MlflowClient(wanted.machine.tracking).list_artifacts(
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
    kept = [each.path for each in MlflowClient(store).list_artifacts(run_id)]
    assert "weights.pt" in kept


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


def test_someone_elses_loss_and_data_need_no_change_here(tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from xent_bench.data.image_set import ImageSet\n"
        "from xent_bench.types import Index, Logits, PerExample\n"
        "def twice(logits: Logits, target: Index, *, factor: float = 2.0) -> PerExample:\n"
        "    return -factor * logits.log_softmax(1).gather(1, target[:, None]).squeeze(1)\n"
        "def stripes(*, n: int = 200) -> ImageSet:\n"
        "    images = torch.zeros(n, 3, 8, 8, dtype=torch.uint8)\n"
        "    images[::2, :, ::2], images[1::2, :, :, ::2] = 255, 255\n"
        "    return ImageSet(images, torch.arange(n) % 2, ('across', 'down'))\n"
    )
    for group, name in (("loss", "twice"), ("data", "stripes")):
        file = tmp_path / "conf" / group / f"{name}.yaml"
        file.parent.mkdir(parents=True)
        defaults = {"loss": "factor: 2.0\n", "data": "n: 200\n"}[group]
        file.write_text(f"_target_: mine.{name}\n{defaults}")
    done = subprocess.run(
        [
            XENT_TRAIN,
            *("--config-dir", "conf", "loss=twice", "data=stripes", "epochs=2", "loss.factor=3"),
            *("machine=cpu", "machine.threads=1"),
        ],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    (result,) = tmp_path.glob("runs/default/twice-stripes-cnn-s0-*/result.json")
    found = json.loads(result.read_text())
    assert found["params"]["loss.factor"] == 3
    assert "test/top5" not in found["metrics"]  # two classes


def test_a_damaged_result_is_named_with_the_way_out(config):
    wanted = config()
    run(wanted)
    folder = run_folder(wanted)
    result = folder / "result.json"

    result.write_text(result.read_text()[:50])
    with pytest.raises(DataError, match=r"cannot read .*result.json, delete it"):
        run(wanted)
    result.unlink()
    assert math.isfinite(run(wanted)["metrics"]["test/nll"])


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("kept", [1, 0])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(config, capsys, kept):
    straight, cut = config(folder="straight"), config(folder="cut")
    expected = run(straight)
    run(cut)
    (run_folder(cut) / "result.json").unlink()
    before, last = sorted(run_folder(cut).glob("step*.ckpt"))
    flip_a_bit(last)
    if not kept:
        before.write_bytes(b"")
    capsys.readouterr()
    again = run(cut)

    said = capsys.readouterr().out
    both = f"{last}" if kept else f"{last}, {before}"
    assert f"damaged: {both}; going on from {before.name if kept else 'the start'}" in said
    assert again["metrics"] == expected["metrics"]
    assert again["tags"]["weights_sha256"] == expected["tags"]["weights_sha256"]
    assert curve(cut, "val/nll") == curve(straight, "val/nll")
    assert len(list(run_folder(cut).glob("step*.ckpt"))) == 2


def test_a_run_deleted_from_mlflow_is_begun_anew_there(config):
    wanted = config()
    first = run(wanted)["tags"]["mlflow_run_id"]
    MlflowClient(wanted.machine.tracking).delete_run(first)
    (run_folder(wanted) / "result.json").unlink()
    second = run(wanted)

    assert second["tags"]["mlflow_run_id"] != first
    assert mlflow_run(wanted).info.status == "FINISHED"


def test_a_store_half_made_by_a_killed_process_is_made_again(config, tmp_path):
    (tmp_path / "new.db.part").write_bytes(b"half of the tables")
    wanted = config()
    wanted.machine.tracking = f"sqlite:///{tmp_path}/new.db"
    run(wanted)

    assert mlflow_run(wanted).info.status == "FINISHED"
    assert not (tmp_path / "new.db.part").exists()


def test_a_loss_that_writes_into_its_outputs_does_not_change_the_scores(
    config, tmp_path, monkeypatch
):
    (tmp_path / "two_forms.py").write_text(
        "from torch.nn import functional as F\n"
        "from xent_bench.types import Index, Logits, PerExample\n"
        "def pure(logits: Logits, target: Index) -> PerExample:\n"
        "    return F.cross_entropy(0.1 * logits, target, reduction='none')\n"
        "def in_place(logits: Logits, target: Index) -> PerExample:\n"
        "    if not logits.requires_grad: logits *= 0.1\n"
        "    else: logits = 0.1 * logits\n"
        "    return F.cross_entropy(logits, target, reduction='none')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    pure, in_place = (config(f"loss._target_=two_forms.{name}") for name in ("pure", "in_place"))
    run(pure)
    run(in_place)

    assert curve(pure, "val/nll") == curve(in_place, "val/nll")
    assert mlflow_run(pure).data.params["loss"] == "two_forms.pure"


def test_an_infinite_score_stays_out_of_the_charts(store, tmp_path):
    params = {"loss": "ce", "data": "digits", "model": "cnn", "seed": 0}
    begun = Unfinished("one", tmp_path.name, params, "")
    scores = {"test/nll": math.inf, "test/top1": 0.5}
    with open_run(tmp_path, begun, store) as tracking:
        save_run(Run("one", tmp_path.name, params, scores, {}, "", 9, 1.5), tmp_path)

    logged = MlflowClient(store).get_run(tracking.run_id).data.metrics
    assert logged == {"test/top1": 0.5, "time/seconds": 1.5}
