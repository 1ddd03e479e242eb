"""A loss within a run: what it is given, how its outputs are read, and which losses are refused."""

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
from trained_run import assert_same_weights, curve, mlflow_run

from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_folder
from xent_bench.data import synthetic as synthetic_module
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import split
from xent_bench.links import projection
from xent_bench.metrics.score import score
from xent_bench.runs.predictions import load
from xent_bench.training.run import run

XENT_TRAIN = str(Path(sys.executable).with_name("xent-train"))


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


def test_a_margin_loss_reports_nothing_that_needs_probabilities_before_scaling(config):
    wanted = config("loss=hinge")
    metrics = run(wanted)["metrics"]
    reported = {"top1", "top5", "ties", "balanced_top1", "aurc", "eaurc", "auroc_correct"}
    reported |= {"augrc", "risk_at_80", "risk_at_90", "risk_at_95"}

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
            "one value for each image of a batch, here .*not their mean",
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
    content = json.loads(result.read_text())
    assert content["params"]["loss.factor"] == 3
    assert "test/top5" not in content["metrics"]  # two classes


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
