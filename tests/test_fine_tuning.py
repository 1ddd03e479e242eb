"""What is trained of a net, at which rate, and what stays as it was."""

import pytest
import torch
from torch import nn
from torchvision.models import convnext_tiny, vit_b_32

from xent_bench.config.configure import ConfigError
from xent_bench.models.cnn import cnn
from xent_bench.models.resnet import resnet18
from xent_bench.optimizers import adamw, sgd
from xent_bench.training.classifier import Classifier
from xent_bench.training.run import run
from xent_bench.training.trainable import freeze, trained


def with_dropout() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10)
    )


def stepped(net: nn.Module, trainable: str) -> tuple[dict[str, torch.Tensor], set[str]]:
    """The state before a step in training mode, and the names of what the step has changed."""
    training = trained(net, 10, trainable)
    freeze(net, training.parts.frozen)
    modules = dict(net.named_modules())
    harness = Classifier.__new__(Classifier)
    nn.Module.__init__(harness)
    harness.net, harness.averaged = net, None
    harness.at_rest = tuple(modules[name] for name in training.at_rest)
    harness.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = sgd(net, training.parts, lr=0.1)
    net(torch.randn(4, 1, 8, 8)).logsumexp(1).mean().backward()
    optimizer.step()
    after = net.state_dict()
    return before, {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(
    ("net", "head"), [(with_dropout, "4."), (lambda: resnet18((1, 8, 8), 10), "fc.")]
)
def test_head_leaves_every_other_tensor_bit_for_bit(net, head):
    _, changed = stepped(net(), "head")

    assert changed == {f"{head}weight", f"{head}bias"}


def test_norm_trains_normalisations_which_update_their_statistics():
    _, changed = stepped(with_dropout(), "norm")

    assert {"2.weight", "2.running_mean", "4.weight"} <= changed
    assert not changed & {"1.weight", "1.bias"}


def test_the_last_blocks_are_trained_and_too_many_are_refused():
    _, changed = stepped(cnn((1, 8, 8), 10), "last:1")

    assert {name.partition(".")[0] for name in changed} == {"4", "8"}
    with pytest.raises(ConfigError, match="expected at most 3, the blocks of the net, got last:4"):
        trained(cnn((1, 8, 8), 10), 10, "last:4")


@pytest.mark.parametrize(
    ("build", "blocks"),
    [
        (lambda: resnet18((3, 64, 64), 10), 1 + 8),
        (lambda: vit_b_32(num_classes=10), 1 + 12),
        (lambda: convnext_tiny(num_classes=10), 1 + 18 + 3),
    ],
    ids=["resnet18", "vit", "convnext"],
)
def test_blocks_are_those_that_the_papers_count(build, blocks):
    with torch.device("meta"):
        parts = trained(build(), 10, "all").parts

    assert len(parts.blocks) == blocks


@pytest.mark.parametrize("optimizer", [sgd, adamw])
def test_rates_fall_from_the_head_down(optimizer):
    net = cnn((1, 8, 8), 10)
    parts = trained(net, 10, "all").parts
    groups = optimizer(net, parts, lr=1.0, backbone_lr=0.5, layer_decay=0.1).param_groups
    rates = {id(weight): group["lr"] for group in groups for weight in group["params"]}

    assert rates[id(net[8].weight)] == 1
    assert rates[id(net[4][0].weight)] == pytest.approx(0.05)
    assert rates[id(net[0][1].weight)] == pytest.approx(0.0005)
    (decayed, others) = optimizer(net, decay_bias_and_norm=True).param_groups
    assert decayed["weight_decay"] == others["weight_decay"] > 0


def test_a_run_says_how_much_is_trained_and_that_the_others_are_random(config, capsys):
    tags = run(config("model.trainable=head"))["tags"]
    printed = capsys.readouterr()

    assert tags["trained_weights"] == "170 of 1,482"
    assert "170 of 1,482 weights are trained" in printed.out
    assert "keep their random weights" in printed.err
    with pytest.raises(ConfigError, match=r"model.trainable: expected all, head, norm or last:N"):
        run(config("model.trainable=tail"))
