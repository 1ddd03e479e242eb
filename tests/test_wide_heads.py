"""A head on wide features, trained alone or in a group of any kind, ends with the same bits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig
from test_together import LOSSES, assert_as_alone, differing, pairs, state, trained_together
from torch import nn

from xent_bench.training.first_layer import training_pass
from xent_bench.training.run import run

N, WIDTH, CLASSES = 600, 300, 5
PAUSED = ("machine.offline=true", "machine.pause_after=2")


@pytest.fixture
def heads(config, tmp_path: Path) -> Callable[..., DictConfig]:
    """Compose the run of a head on features of a width from which nets share a matrix."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, N)
    features = rng.standard_normal((N, WIDTH)) + rng.standard_normal((CLASSES, WIDTH))[labels]
    np.savez(tmp_path / "features.npz", features=features.astype(np.float32), labels=labels)
    root = f"data.root={tmp_path / 'features.npz'}"

    def compose(*words: str, folder: str = "runs") -> DictConfig:
        base = ("data=features", root, "model=linear", "epochs=3")
        return config(*words, base=base, folder=folder)

    return compose


@pytest.mark.parametrize(
    ("losses", "way", "words"),
    [
        (LOSSES, "stacked", []),  # most share their images, and so a matrix
        (LOSSES[:2], "stacked", ["optimizer=sgd"]),  # few do: each has a copy of its images
        (LOSSES[:2], "side by side", ["machine.threads=2"]),  # which divide a product otherwise
        (
            LOSSES[:2],
            "side by side",
            ["model=mlp", "model.width=6"],
        ),  # so narrow between its layers
        (LOSSES[:2], "side by side", ["precision=bf16"]),
        (LOSSES[:2], "side by side", ["accumulate=2", "clip_norm=0.5"]),
    ],
)
def test_a_head_of_a_group_has_the_bits_of_one_alone(heads, ways, losses, way, words):
    alone, group = pairs(heads, losses, *PAUSED, *words)
    assert_as_alone(group, alone)
    assert set(ways) == {way}


@pytest.mark.usefixtures("ways")
def test_a_head_goes_on_alone_to_the_bits_of_its_group(heads):
    group, later_alone = pairs(heads, LOSSES[:5], *PAUSED, "machine.pause_after=1")
    for some in (group, later_alone):
        trained_together(*some)
        for one in some:
            one.machine.pause_after = 2
    trained_together(*group)
    for one in later_alone:
        run(one)

    for one, other in zip(group, later_alone, strict=True):
        assert differing(state(one), state(other)) == []


@pytest.mark.parametrize("bias", [True, False])
def test_the_pass_of_training_is_the_net_to_rounding(bias):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(300, 4, bias=bias), nn.Tanh(), nn.Linear(4, 3))
    images, gradient = torch.randn(20, 3, 10, 10), torch.randn(20, 3)
    results = []
    for forward in (net, training_pass(net, 300)):
        seen = images.clone().requires_grad_()
        outputs = forward(seen)
        outputs.backward(gradient)
        results.append([outputs, seen.grad, *(weight.grad for weight in net.parameters())])
        net.zero_grad()

    torch.testing.assert_close(results[1], results[0])
    assert "forward" not in vars(net[1])


@pytest.mark.parametrize("outputs", [4, 20])  # padded, and not
def test_the_hooks_of_a_net_are_called_in_training_as_in_evaluation(outputs):
    net = nn.Sequential(nn.Flatten(), nn.Linear(300, outputs))
    net.register_forward_hook(lambda *given: 2 * given[-1])
    images = torch.randn(20, 300)

    torch.testing.assert_close(training_pass(net, 300)(images), net(images))


def test_a_layer_whose_forward_its_user_has_replaced_is_called_as_it_is():
    net = nn.Sequential(nn.Flatten(), nn.Linear(300, 4))
    net[1].forward = lambda x: x[:, :4] * 2
    images = torch.randn(20, 300)

    assert torch.equal(training_pass(net, 300)(images), 2 * images[:, :4])
