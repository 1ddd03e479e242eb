"""A net of the user's own: typed by its name alone, as a function or as a class."""

import pytest
import torch
from torch import nn

from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.identity import run_folder, run_key
from xent_bench.config.own_code import with_own, without_own
from xent_bench.trained_net import load
from xent_bench.training.run import run

SOURCE = """
from torch import nn


class ByName(nn.Module):
    def __init__(self, num_classes: int, in_chans: int = 3, hidden: int = 8):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_chans, hidden, 3), nn.ReLU(), nn.Flatten(2))
        self.head = nn.Linear(hidden, num_classes)
        self.got = (in_chans, hidden)

    def forward(self, x):
        return self.head(self.body(x).mean(-1))


class OfSize(nn.Module):
    def __init__(self, hidden, num_classes, *, image_size, in_channels=3, **other):
        super().__init__()
        self.got = (hidden, num_classes, image_size, in_channels, other)


class ByPlace(nn.Module):
    def __init__(self, shape, classes, *, hidden=8):
        super().__init__()
        self.got = (shape, classes, hidden)


def function(dims, num_classes, *, hidden: int = 8) -> nn.Module:
    return ByPlace(dims, num_classes, hidden=hidden)


def keywords(*, num_classes: int, channels: int = 3, hidden: int = 8) -> nn.Module:
    return ByPlace(channels, num_classes, hidden=hidden)


def warm(step, steps, *, share: float = 0.5) -> float:
    return share
"""


@pytest.fixture(scope="module", autouse=True)
def own_module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_nets.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield


def typed(composed, *words):
    return composed(*with_own(words))


@pytest.mark.parametrize(
    ("words", "shape", "got"),
    [
        (("ByName", "hidden=4"), (1, 8, 8), (1, 4)),
        (("OfSize", "hidden=4"), (1, 8, 8), (4, 5, 8, 1, {})),
        (("OfSize", "hidden=4", "depth=2"), (2, 8, 6), (4, 5, (8, 6), 2, {"depth": 2})),
        (("ByPlace",), (1, 8, 8), ((1, 8, 8), 5, 8)),
        (("function", "hidden=4"), (1, 8, 8), ((1, 8, 8), 5, 4)),
        (("keywords", "hidden=4"), (1, 8, 8), (1, 5, 4)),
    ],
    ids=lambda value: value[0] if isinstance(value[0], str) else "",
)
def test_a_net_gets_classes_channels_and_size_as_it_asks_for_them(composed, words, shape, got):
    name, *values = words
    config = typed(composed, f"model._target_=own_nets.{name}", *(f"model.{v}" for v in values))
    net = configured(config, "model")(shape, 5)

    assert isinstance(net, nn.Module)
    assert net.got == got


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("ByName", "hiden=4"), "model.hiden: no such key; did you mean model.hidden?"),
        (("ByName", "hidden=4.5"), "model.hidden: should be a valid integer"),
        (("ByName", "in_chans=4"), "model.in_chans: no such key"),
        (("keywords", "hidden=x"), "model.hidden: should be a valid integer"),
    ],
    ids=lambda value: value[-1] if isinstance(value, tuple) else "",
)
def test_a_key_that_an_own_net_does_not_take_is_refused(composed, words, complaint):
    name, *values = words
    config = typed(composed, f"model._target_=own_nets.{name}", *(f"model.{v}" for v in values))

    with pytest.raises(ConfigError) as refusal:
        configured(config, "model")
    assert complaint in str(refusal.value)


def test_a_typed_target_starts_from_an_empty_choice(composed):
    config = typed(
        composed,
        "model._target_=own_nets.ByName",
        "schedule._target_=own_nets.warm",
        "optimizer=sgd",
        "optimizer.lr=0.5",
    )

    assert config.model == {"_target_": "own_nets.ByName"}
    assert config.schedule == {"_target_": "own_nets.warm"}
    assert config.optimizer.momentum == 0.9


def test_a_chosen_file_keeps_its_keys_under_a_typed_target(composed):
    config = typed(composed, "model=mlp", "model._target_=own_nets.ByPlace")

    assert config.model.width == 256


def test_the_words_that_hydra_gets_are_shown_as_they_were_typed():
    words = [
        "loss=ce",
        "model._target_=m.Net",
        "model.hidden=3,4",
        "model.weights=a.pt",
        "seed=0,1",
    ]
    handed_on = with_own(words)

    assert handed_on[0] == "model=own"
    assert "++model.hidden=3,4" in handed_on
    assert without_own(handed_on) == words


def test_an_own_net_is_trained_and_fine_tuned_and_loaded(config):
    net = with_own(["model._target_=own_nets.ByName", "model.hidden=4"])
    base = ("data=synthetic", "data.n=200", "epochs=1", "machine.offline=true", *net)
    first = config("machine.save_weights=true", base=base)
    run(first)
    weights = with_own([f"model.weights={run_folder(first) / 'weights.pt'}"])
    second = config("data.classes=3", *weights, base=base)
    run(second)
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)

    assert load(run_folder(second))(images).shape == (2, 3)
    assert run_key(second) != run_key(config("data.classes=3", base=base))
