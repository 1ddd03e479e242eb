"""Runs that are trained as one end as they do alone, whatever becomes of the others."""

import importlib
import os
import re
import signal
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from mlflow import MlflowClient
from omegaconf import DictConfig
from torch import nn
from torch.nn import functional as F

from xent_bench.config.identity import run_folder
from xent_bench.failures import Diverged
from xent_bench.models.cnn import cnn
from xent_bench.process.signals import Preempted
from xent_bench.runs.curves import load_curves
from xent_bench.runs.files import RESULT
from xent_bench.runs.result import load_run
from xent_bench.together.optimisation import Optimisation
from xent_bench.together.stacked_nets import StackedNets
from xent_bench.together.train_group import Member, NotTogether, train_group
from xent_bench.training.checkpoint_files import last_checkpoint
from xent_bench.training.run import run

OWN = """
from torch import nn
from torch.nn import functional as F
from xent_bench.types import Index, Logits, PerExample

calls, act = 0, lambda call: None

def loss(logits: Logits, target: Index) -> PerExample:
    global calls
    if logits.requires_grad and len(target) == 50:  # in training
        calls += 1
        act(calls)
    return F.cross_entropy(logits, target, reduction="none")

def noisy(shape, classes, *, width=16, depth=2) -> nn.Module:
    channels, h, w = shape
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * h * w, width), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Dropout(0.5), nn.Linear(width, classes),
    )

def dropped(shape, classes, *, width=16, depth=2) -> nn.Module:
    channels, h, w = shape
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * h * w, width), nn.GELU(), nn.Dropout(0.5),
        nn.Linear(width, width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, classes),
    )

class Residual(nn.Module):
    def __init__(self, inputs, classes, width):
        super().__init__()
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)
        self.norm, self.last = nn.LayerNorm(width), nn.Linear(width, classes)

    def forward(self, x):
        x = self.first(x.flatten(1))
        return self.last(x + self.norm(F.relu(self.second(x))))

def residual(shape, classes, *, width=16, depth=2) -> nn.Module:
    channels, h, w = shape
    return Residual(channels * h * w, classes, width)
"""
LOSSES = (
    *("ce", "sparse_ce", "mse", "hinge", "focal", "label_smoothing", "logit_norm"),
    *("weighted_ce", "kl", "square"),
)
MIXED = ("ce", "mse")  # losses that take a distribution


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Nets that draw at random, and a loss that acts at a call."""
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(importlib.import_module("sys").modules, "own_parts", raising=False)
    monkeypatch.setattr("xent_bench.data.groups.SECONDS", 0)  # a group of minibatches each
    return importlib.import_module("own_parts")


def state(config: DictConfig) -> dict[str, Any]:
    """All that a run alone and one of a group must agree in when they are saved."""
    checkpoint, _ = last_checkpoint(run_folder(config))
    assert checkpoint is not None
    content = torch.load(checkpoint, weights_only=True)
    (optimizer,) = content["optimizer_states"]
    curves = load_curves(run_folder(config))
    return {
        "curves": [
            {key: value for key, value in point.items() if not key.startswith("time/")}
            for point in curves.values()
        ],
        "weights": {name: tensor.tolist() for name, tensor in content["state_dict"].items()},
        "rates": [group["lr"] for group in optimizer["param_groups"]],
        "moments": [
            {name: tensor.tolist() for name, tensor in moments.items()}
            for moments in optimizer["state"].values()
        ],
        "best": str(content.get("best_epoch")),
        "steps": content["global_step"],
        "within": str(content.get("within_epoch", {}).get("losses")),
    }


def differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    return [name for name, value in one.items() if value != other[name]]


def trained_together(*configs: DictConfig) -> dict[int, BaseException | None]:
    ends: dict[int, BaseException | None] = {}

    def ended(number: int, error: BaseException | None) -> None:
        assert number not in ends
        ends[number] = error

    train_group([Member(config, "xent-train") for config in configs], ended)
    assert sorted(ends) == list(range(len(configs)))
    return ends


def pairs(
    config: Callable[..., DictConfig], losses: tuple[str, ...], *words: str
) -> tuple[list[DictConfig], list[DictConfig]]:
    """The same runs in two folders; the losses of seed 0, and the first of them with seed 1."""
    return tuple(
        [
            config(f"loss={loss}", f"seed={seed}", "batch_size=50", *words, folder=folder)
            for seed, loss in [*((0, loss) for loss in losses), (1, losses[0])]
        ]
        for folder in ("alone", "group")
    )  # type: ignore[return-value]


def assert_as_alone(group: list[DictConfig], alone: list[DictConfig]) -> None:
    """Train the runs of `alone` one by one and those of `group` as one, to the same bits."""
    for one in alone:
        run(one)
    ends = trained_together(*group)

    assert set(ends.values()) == {None}
    for one, other in zip(group, alone, strict=True):
        assert differing(state(one), state(other)) == []


@pytest.mark.parametrize(
    ("losses", "way", "words"),
    [
        (LOSSES, "stacked", ["model=mlp"]),
        (LOSSES[:3], "stacked", ["optimizer=sgd", "clip_norm=0.5", "ema=0.9"]),
        (LOSSES[:5], "stacked", ["train_fraction=0.5", "batch_size=30"]),
        (LOSSES[:2], "stacked", ["model._target_=own_parts.dropped"]),
        # what is recorded on a GPU is called anew on a CPU, on inputs that keep their place
        (LOSSES, "stacked", ["model=mlp", "machine.cuda_graph=true"]),
        (MIXED, "stacked", ["augmentation.mixup=0.3", "machine.cuda_graph=true"]),
        (
            LOSSES[:2],
            "stacked",
            ["model._target_=own_parts.dropped", "machine.cuda_graph=true", "clip_norm=0.5"],
        ),
        (LOSSES[:2], "side by side", ["model._target_=own_parts.residual"]),
        (LOSSES[:2], "side by side", ["model._target_=own_parts.noisy", "accumulate=2"]),
        (LOSSES[:2], "side by side", ["model=cnn", "precision=bf16"]),
        (MIXED, "side by side", ["model=cnn", "augmentation.mixup=0.3"]),
        (LOSSES[:2], "stacked", ["model=mlp", "noise=symmetric", "noise.rate=0.3", "choose=best"]),
        (("ldam", "balanced_softmax"), "stacked", ["imbalance=step", "imbalance.ratio=5"]),
    ],
)
@pytest.mark.usefixtures("own")
def test_runs_of_a_group_have_the_bits_of_runs_alone(config, ways, losses, way, words):
    alone, group = pairs(config, losses, "machine.offline=true", "machine.pause_after=1", *words)
    assert_as_alone(group, alone)
    assert set(ways) == {way}


@pytest.mark.usefixtures("ways")
def test_runs_of_a_group_end_as_they_do_alone(config):
    alone, group = pairs(config, ("ce", "sparse_ce"), "patience=1", "choose=best", "epochs=4")
    for one in alone:
        run(one)
    start = time.monotonic()
    ends = trained_together(*group)
    spent = time.monotonic() - start
    results, others = (
        [load_run(run_folder(one) / RESULT) for one in some] for some in (group, alone)
    )

    assert set(ends.values()) == {None}
    assert [result.metrics for result in results] == [result.metrics for result in others]
    kept = ("weights_sha256", "stopped_early", "chosen_epoch", "key", "data_sha256")
    for result, other in zip(results, others, strict=True):
        assert {name: result.tags.get(name) for name in kept} == {
            name: other.tags.get(name) for name in kept
        }
    assert results[0].tags["weights_sha256"] == results[1].tags["weights_sha256"]  # ce, sparse_ce
    assert results[0].tags["together"].endswith("runs, stacked")
    assert all(0 < result.seconds < spent / 2 for result in results)  # each has its part of them
    client = MlflowClient(group[0].machine.tracking)
    experiment = client.get_experiment_by_name(group[0].experiment)
    stored = client.search_runs([experiment.experiment_id])
    assert sorted(found.info.status for found in stored) == ["FINISHED"] * 3
    assert {found.data.metrics["test/nll"] for found in stored} == {
        result.metrics["test/nll"] for result in results
    }


@pytest.mark.usefixtures("ways")
def test_a_run_that_diverges_or_fails_leaves_the_others_as_they_were(config, own):
    words = ("batch_size=50", "machine.offline=true", "machine.pause_after=2")
    fine = [config(f"loss={loss}", *words, folder="with") for loss in ("ce", "focal")]
    alone = [config(f"loss={loss}", *words, folder="without") for loss in ("ce", "focal")]
    diverging = config("loss=mse", "optimizer.lr=1e38", *words, folder="with")
    failing = config("loss=sparse_ce", "loss._target_=own_parts.loss", *words, folder="with")

    def act(call: int) -> None:
        if call == 9:
            raise RuntimeError("a mistake in a loss")

    own.act = act
    ends = trained_together(fine[0], diverging, failing, fine[1])
    trained_together(*alone)

    assert ends[0] is ends[3] is None
    assert isinstance(ends[1], Diverged)
    assert "a smaller optimizer.lr may help" in str(ends[1])
    assert re.search(r"^loss: RuntimeError: a mistake in a loss in epoch 2, step 3", str(ends[2]))
    for one, other in zip(fine, alone, strict=True):
        assert differing(state(one), state(other)) == []


def told_to_end_at(number: int) -> Callable[..., None]:
    """A step of the optimizer that gets a signal when it is the one with this number."""
    step, steps = Optimisation.step, count(1)

    def stepping(self: Optimisation, *arguments: Any) -> None:
        if next(steps) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        step(self, *arguments)

    return stepping


@pytest.mark.parametrize("net", ["mlp", "noisy"])
@pytest.mark.usefixtures("own")
def test_a_group_that_is_told_to_end_goes_on_to_the_same_bits(config, monkeypatch, net):
    words = ["batch_size=50", "machine.offline=true", "machine.pause_after=2"]
    words += [] if net == "mlp" else [f"model._target_=own_parts.{net}"]
    whole, cut, later_alone = (
        [config(f"loss={loss}", *words, folder=folder) for loss in ("ce", "focal", "hinge")]
        for folder in ("whole", "cut", "alone")
    )
    trained_together(*whole)
    for configs in (cut, later_alone):
        with monkeypatch.context() as patch:
            patch.setattr("xent_bench.together.optimisation.Optimisation.step", told_to_end_at(9))
            with pytest.raises(Preempted):
                trained_together(*configs)
    assert state(cut[0])["steps"] == 9
    trained_together(*cut)
    for one in later_alone:
        run(one)

    for one, other, third in zip(whole, cut, later_alone, strict=True):
        assert differing(state(one), state(other)) == []
        assert differing(state(one), state(third)) == []


@pytest.mark.usefixtures("ways")
def test_what_is_done_is_not_trained_again_and_what_is_ahead_is_trained_alone(config):
    words = ("batch_size=50", "machine.offline=true")
    losses = ("ce", "focal", "hinge")
    done, ahead, new = (config(f"loss={loss}", *words) for loss in losses)
    run(done)
    ahead.machine.pause_after = 1
    run(ahead)
    ahead.machine.pause_after = None
    before = (run_folder(done) / RESULT).stat().st_mtime_ns
    ends = trained_together(done, ahead, new, config("loss=mse", *words))

    assert set(ends.values()) == {None}
    assert (run_folder(done) / RESULT).stat().st_mtime_ns == before
    tags = [load_run(run_folder(one) / RESULT).tags for one in (ahead, new)]
    assert "together" not in tags[0]
    assert tags[1]["together"].startswith("2 runs, ")


def test_long_steps_and_files_are_not_trained_together(config):
    with pytest.raises(NotTogether, match="a step of this net is long"):
        trained_together(
            *(config(f"loss={loss}", "model.width=4096", "batch_size=300") for loss in LOSSES[:2])
        )
    with pytest.raises(NotTogether, match=r"stay in the processor's cache"):
        trained_together(
            *(config(f"loss={loss}", "model.width=512", "batch_size=16") for loss in LOSSES[:2])
        )
    with pytest.raises(NotTogether, match=r"machine\.compile"):
        trained_together(config("loss=ce", "machine.compile=default"), config("loss=mse"))
    assert not Path(config().machine.runs).exists()


def several_losses(labels: torch.Tensor) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    target = F.one_hot(labels, 10).double()
    return [
        lambda z: F.cross_entropy(z, labels, reduction="none"),
        lambda z: (z - target).square().sum(dim=1),
        lambda z: F.multi_margin_loss(z, labels, reduction="none"),
        lambda z: F.binary_cross_entropy_with_logits(z, target, reduction="none").sum(dim=1),
        lambda z: F.huber_loss(z, target, reduction="none").mean(dim=1),
    ]


@pytest.mark.parametrize(
    "kind",
    [
        partial(torch.optim.SGD, lr=0.01, momentum=0.9, nesterov=True),
        partial(torch.optim.AdamW, lr=0.01),
    ],
)
def test_stacked_wide_layers_learn_what_each_layer_learns_in_double_precision(kind):
    torch.manual_seed(0)  # the nets' weights: AdamW lets a weight near 0 differ by 8e-10 in some
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 300, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (64,), generator=generator)
    losses = several_losses(labels)

    alone = [nn.Sequential(nn.Flatten(), nn.Linear(300, 10)).double() for _ in losses]
    stacked = deepcopy(alone)
    together = StackedNets(stacked, [len(stacked)], 300)
    together.share_memory()
    steps = [kind(net.parameters()) for net in (*alone, *stacked)]
    for _ in range(300):
        for net, loss in zip(alone, losses, strict=True):
            net.zero_grad()
            loss(net(images)).mean().backward()
        outputs = zip(together.outputs([images], [{}]), losses, strict=True)
        torch.stack([loss(z).mean() for z, loss in outputs]).sum().backward()
        for weight, gradient in together.of_each_net(together.gradients()):
            weight.grad = gradient
        for one in steps:
            one.step()

    for one, other in zip(alone, stacked, strict=True):
        for weight, its_twin in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(its_twin, weight, rtol=1e-10, atol=1e-12)


def convolutions() -> nn.Module:
    return cnn((1, 8, 8), 10, width=4)


def attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0, batch_first=True)
    return nn.Sequential(nn.Flatten(1, 2), layer, nn.Flatten(), nn.Linear(64, 10))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("net", [convolutions, attention])
def test_nets_that_vmap_stacks_have_the_gradients_of_each_alone(net):
    torch.manual_seed(0)
    nets = [net().double() for _ in range(6)]
    images = [torch.randn(20, 1, 8, 8, dtype=torch.float64) for _ in range(2)]
    for counts, seen in (([3, 3], images), ([6], images[:1]), ([4, 2], images)):
        copies = [deepcopy(one) for one in nets]
        stacked = StackedNets(nets, counts, 64)
        outputs = stacked.outputs(seen, [{} for _ in seen])
        gradient = torch.randn_like(outputs)
        outputs.backward(gradient)
        pairs_of_nets = stacked.of_each_net(stacked.gradients())
        of_weights = [of_weight for _, of_weight in pairs_of_nets]
        inputs = [x for x, n in zip(seen, counts, strict=True) for _ in range(n)]
        for one, x, z, of_output in zip(copies, inputs, outputs, gradient, strict=True):
            alone = one(x)
            alone.backward(of_output)
            torch.testing.assert_close(z, alone, rtol=1e-10, atol=1e-10)
        names = [name for name, _ in nets[0].named_parameters()]
        expected = [one.get_parameter(name).grad for name in names for one in copies]
        torch.testing.assert_close(of_weights, expected, rtol=1e-8, atol=1e-10)
        for name, buffer in stacked.buffers.items():
            expected_buffer = torch.stack([one.get_buffer(name) for one in copies])
            torch.testing.assert_close(buffer, expected_buffer)


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 10), (300, 10), (300, 20), (64, 3)])
def test_the_bits_of_a_run_do_not_depend_on_who_else_is_in_the_group(inputs, outputs):
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(inputs, outputs)) for _ in range(9)]
    images = [torch.randn(50, inputs) for _ in range(3)]
    gradient = torch.randn(9, 50, outputs)

    def passes(numbers: list[int], counts: list[int], seen: list[int]) -> dict[int, Any]:
        stacked = StackedNets([nets[number] for number in numbers], counts, inputs)
        values = stacked.outputs([images[place] for place in seen], [{} for _ in seen])
        values.backward(gradient[numbers])
        weights = stacked.weights["1.weight"].grad
        assert weights is not None
        return {
            number: (values[place].tolist(), weights[place].tolist())
            for place, number in enumerate(numbers)
        }

    whole = passes(list(range(9)), [5, 2, 2], [0, 1, 2])
    for numbers, counts, seen in (
        ([0], [1], [0]),
        ([1, 4], [2], [0]),
        ([0, 5, 7], [1, 1, 1], [0, 1, 2]),
        ([0, 1, 2, 3, 4], [5], [0]),
    ):
        some = passes(numbers, counts, seen)
        assert all(some[number] == whole[number] for number in numbers)
