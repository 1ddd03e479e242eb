"""Values written down: what decides which numbers a run gets, whatever the platform or version.

A property can hold after a change that nobody wanted. Who changes one of these values on purpose
changes the numbers of every run: say so in the changelog.
"""

import hashlib
import math
from dataclasses import asdict
from inspect import Parameter, signature

import numpy as np
import pytest
import torch
from hydra.utils import get_method
from omegaconf import OmegaConf

from xent_bench.comparison.stats import choice_widening, largest_spread, seeds_needed
from xent_bench.comparison.yardsticks import PRIMARY, YARDSTICKS, quoted
from xent_bench.config.identity import run_key, science
from xent_bench.config.net_options import NetOptions
from xent_bench.config.schema import CONF, GROUPS
from xent_bench.data.augment import Augmentation
from xent_bench.data.digits import digits
from xent_bench.data.mixing import Mixing
from xent_bench.data.resident import Resident
from xent_bench.data.split import split
from xent_bench.data.synthetic import synthetic
from xent_bench.metrics.score import score
from xent_bench.models.cnn import cnn
from xent_bench.optimizers import adamw, sgd
from xent_bench.randomness import derived_seed, generator
from xent_bench.schedules import constant, cosine


def digest(tensor: torch.Tensor) -> str:
    """Hash the bytes of a tensor, whose numbers every platform rounds alike."""
    return hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()[:16]


def test_seeds_of_every_purpose():
    purposes = ("order", "augmentation", "mixing", "split", "test split", "initial weights")
    seeds = [
        derived_seed(seed, each, epoch) for each in purposes for seed, epoch in ((0, 0), (3, 7))
    ]

    assert seeds == [
        8291797289310684009,
        3274101136624689251,
        4161846759032267446,
        8977695971150601262,
        1217866930286291205,
        7975552404779094993,
        2017873353947082761,
        1550437015560943182,
        6270646007245904937,
        8290049924369493823,
        2301002692797205423,
        2984420756443155131,
    ]


def test_splits_of_digits():
    data = digits()

    assert data.sha256()[:16] == "3473bf7b0c85990d"
    assert [split(data, seed).sha256()[:16] for seed in range(3)] == [
        "bc71c2386b349f22",
        "f010443d85d735d0",
        "2aec4a9792d397e5",
    ]
    assert split(data, 0).test[:10].tolist() == [6, 10, 12, 14, 23, 28, 36, 40, 44, 45]
    assert [len(ids) for ids in split(data, 0)] == [1006, 216, 216, 359]


def test_pixels_of_synthetic_images():
    assert synthetic(n=50).sha256()[:16] == "c7108cc8cdfd5008"


def test_the_order_of_an_epoch():
    order = torch.randperm(12, generator=generator(5, "order", 2))

    assert order.tolist() == [7, 0, 11, 3, 10, 8, 4, 1, 9, 5, 6, 2]


def test_what_augmentation_draws():
    images = torch.arange(6 * 2 * 4 * 4).remainder(251).to(torch.uint8).view(6, 2, 4, 4)
    source = Resident(images, torch.device("cpu"), Augmentation(flip=True, crop=1))
    order = torch.tensor([5, 3, 1, 0, 2, 4])
    draws = generator(1, "augmentation", 4)
    (batch,) = source.varied(order, torch.arange(6), 6, draws)

    assert digest(batch) == "29d75c1251ab90c4"
    assert batch[0, 0].tolist() == [162, 178, 163, 179, 162, 178, 161, 177]


def test_what_mixing_draws():
    mixing = Mixing(
        Augmentation(cutout=2, mixup=0.3, cutmix=1.0),
        8,
        torch.arange(8),
        8,
        shape=(1, 4, 4),
        seed=2,
        epoch=1,
        device=torch.device("cpu"),
    )

    assert mixing.share[0].tolist() == pytest.approx(
        [0.156195, 0.0, 1.2e-05, 0.0, 0.761331, 0.463032, 0.392856, 0.991614], abs=1e-6
    )
    assert mixing.sides[0][:, 0].tolist() == pytest.approx(
        [0.0, 2.300791, 0.0, 2.351134, 0.0, 0.0, 0.0, 0.0], abs=1e-5
    )
    assert mixing.blank[0][0].tolist() == pytest.approx([0.392737, 0.932182], abs=1e-6)
    assert mixing.centre[0][0].tolist() == pytest.approx([0.157956, 0.349167], abs=1e-6)


def test_the_factor_of_a_schedule_at_each_step():
    """Ten steps, two of them to warm up: thirds of the rate, then half a cosine over eight."""
    after = [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]

    assert [cosine(step, 10, warmup=0.2) for step in range(10)] == pytest.approx(
        [1 / 3, 2 / 3, *after]
    )
    assert [cosine(step, 4, warmup=0.0) for step in range(4)] == pytest.approx(
        [1, 0.8535533905932737, 0.5, 0.14644660940672627]
    )
    assert cosine(1, 2, warmup=0.25) == pytest.approx(0.75)  # a third of the way: cos 60 degrees
    assert cosine(0, 20) == pytest.approx(1 / 3)  # a tenth of the steps to warm up
    assert cosine(2, 20) == 1
    assert [constant(step, 10) for step in (0, 9)] == [1, 1]


@pytest.mark.parametrize(
    ("optimizer", "decay", "defaults"),
    [
        (sgd, 5e-4, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
        (adamw, 0.01, {"lr": 3e-3, "betas": (0.9, 0.999)}),
    ],
)
def test_the_groups_and_defaults_of_an_optimizer(optimizer, decay, defaults):
    """Convolutions and the last layer's matrix decay; biases and normalisations do not."""
    net = cnn((1, 8, 8), 10)
    names = {id(weight): name for name, weight in net.named_parameters()}
    groups = optimizer(net).param_groups
    decayed, kept = ({names[id(weight)] for weight in group["params"]} for group in groups)

    assert [group["weight_decay"] for group in groups] == [decay, 0]
    assert all(group[key] == value for group in groups for key, value in defaults.items())
    assert len(decayed) + len(kept) == len(names)
    assert decayed == {name for name, weight in net.named_parameters() if weight.ndim > 1}
    assert all(weight.ndim == 1 for weight in groups[1]["params"])


@pytest.mark.parametrize(
    "file",
    [file for group in GROUPS if group != "loss" for file in sorted((CONF / group).glob("*.yaml"))],
    ids=lambda file: f"{file.parent.name}={file.stem}",
)
def test_a_choice_called_from_python_has_the_defaults_of_its_yaml(file):
    """Losses: in test_losses.py."""
    written = OmegaConf.to_container(OmegaConf.load(file))
    parameters = signature(get_method(written.pop("_target_"))).parameters.values()
    options = asdict(NetOptions()) if file.parent.name == "model" else {}

    assert written == options | {
        p.name: "???" if p.default is Parameter.empty else p.default
        for p in parameters
        if p.kind is p.KEYWORD_ONLY
    }


def test_nesterov_needs_a_momentum():
    net = cnn((1, 8, 8), 10)

    assert not sgd(net, momentum=0.0).param_groups[0]["nesterov"]
    assert not sgd(net, nesterov=False).param_groups[0]["nesterov"]


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ((), "d302c68dc2"),
        (("loss=focal", "loss.gamma=3"), "281c8fcb16"),
        (("data=synthetic", "model=mlp", "optimizer=sgd", "schedule=constant"), "357720b631"),
        (("augmentation.mixup=0.2", "clip_norm=1", "accumulate=4"), "c0f1575ab6"),
        (("precision=bf16", "seed=7", "epochs=3", "batch_size=32"), "4506447ff5"),
    ],
)
def test_the_key_of_a_run(composed, overrides, key):
    assert run_key(composed(*overrides)) == key


def test_what_names_a_run(composed):
    assert science(composed()) == {
        "loss": "ce",
        "data": "digits",
        "model": "cnn",
        "model.width": 16,
        "optimizer": "adamw",
        "optimizer.lr": 0.003,
        "optimizer.beta1": 0.9,
        "optimizer.beta2": 0.999,
        "optimizer.weight_decay": 0.01,
        "schedule": "cosine",
        "schedule.warmup": 0.1,
        "seed": 0,
        "epochs": 20,
        "batch_size": 64,
        "precision": "fp32",
    }


def test_what_a_machine_does_where_nothing_is_said(composed):
    numbers = {
        key: value for key, value in composed().machine.items() if type(value) in (int, float)
    }

    assert numbers == {
        "devices": 1,
        "jobs": 1,
        "checkpoint_minutes": 10.0,
        "worker_timeout": 120.0,
        "rank_timeout": 600.0,
        "retries": 2,
        "most_runs": 10_000,
    }


def test_top5_of_exactly_five_classes_is_always_right():
    outputs = np.arange(15.0).reshape(3, 5)

    assert score(outputs, np.array([0, 2, 4]))["top5"] == 1
    assert "top5" not in score(outputs[:, :4], np.array([0, 2, 3]))


def test_the_formula_of_power():
    """Pairs for a power of 80 % at 5 %, two-sided: from tables of the noncentral t distribution."""
    assert [seeds_needed(effect, 1.0) for effect in (2.0, 1.0, 0.5, 0.2)] == [5, 10, 34, 199]
    assert seeds_needed(1.0, 1.0, level=0.05 / 4) == 15
    assert largest_spread(1.0, 3) == pytest.approx(2.116936)


def test_the_widening_of_tuned_intervals():
    assert choice_widening(1, 5) == choice_widening(5, 1) == 1
    assert choice_widening(3, 3) == pytest.approx(1.39, abs=0.005)
    assert choice_widening(5, 5) == pytest.approx(1.5, abs=0.005)


def test_what_losses_are_compared_by():
    """Factor and decimals as shown, sign of an improvement, and the margin of a tie."""
    share, nats, square = (100, 1), (1, 3), (1, 3)

    assert {by.key: (by.scale, by.decimals, by.better, by.tie) for by in YARDSTICKS} == {
        "test/top1": (*share, 1, 0.005),
        "test/top5": (*share, 1, 0.005),
        "test/nll": (*nats, -1, 0.01),
        "test_ts/nll": (*nats, -1, 0.01),
        "test/brier": (*square, -1, 0.005),
        "test_ts/brier": (*square, -1, 0.005),
        "test/ece": (*share, -1, 0.005),
        "test_ts/ece": (*share, -1, 0.005),
        "test_pc/top1": (*share, 1, 0.005),
        "test_pc/nll": (*nats, -1, 0.01),
    }
    assert quoted(PRIMARY) == ("test_ts/nll", "test/top1", "test/nll", "test_ts/ece")
