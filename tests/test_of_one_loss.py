"""Hyper-parameters of one loss in a sweep of several: loss.focal.gamma=1,2 beside loss=ce,focal."""

from collections.abc import Callable

import pytest
from conftest import answer
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from xent_bench.commands import train
from xent_bench.config.command_line import as_typed, flags_first
from xent_bench.config.of_one_loss import OfOneLoss, of_one_loss
from xent_bench.config.schema import CONF, register_schema
from xent_bench.exit_codes import Exit
from xent_bench.sweeps.combinations import combinations_of

LOSS = "_target_: xent_bench.losses.focal.focal\ngamma: 2.0\n"


@pytest.fixture
def expanded() -> Callable[..., list[list[str]]]:
    """The runs of a sweep that is typed with these words and with an experiment's `params`."""

    def runs(*words: str, params: dict[str, object] | None = None) -> list[list[str]]:
        register_schema()
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config: DictConfig = compose("train", return_hydra_config=True)
            with open_dict(config):
                config.hydra.overrides.task = flags_first(["-m", *words])[1:]
                config.hydra.sweeper.params = params
            combinations = combinations_of(config)
        assert combinations is not None
        return combinations

    return runs


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("loss.focal.gamma", OfOneLoss("focal", "loss.gamma")),
        ("+loss.mine.gamma", None),  # an entry of a hyper-parameter of the user's
        ("+loss.focal.gamma", OfOneLoss("focal", "+loss.gamma")),
        ("loss.focla.gamma", OfOneLoss("focla", "loss.gamma")),
        ("loss.focal.weights.cat", OfOneLoss("focal", "loss.weights.cat")),
        ("loss.gamma", None),
        ("loss.gamma.cat", None),  # focal has a key gamma
        ("optimizer.sgd.momentum", None),
        ("loss.", None),
    ],
)
def test_a_key_of_one_loss_is_told_from_other_keys(key, expected):
    assert of_one_loss(key) == expected


@pytest.mark.parametrize("value", ["2", "1e-3", "'a b'", "[1,2]", "{a: 1}", "x"])
def test_one_value_for_one_loss_becomes_a_sweep_and_is_shown_as_typed(value):
    word = f"loss.focal.gamma={value}"
    overrides = flags_first(["-m", "loss=ce,focal", word])

    assert overrides == ["-m", "loss=ce,focal", f"loss.focal.gamma=choice({value})"]
    assert as_typed(overrides)[-1] in (word, overrides[-1])
    assert flags_first(as_typed(overrides)) == overrides


@pytest.mark.parametrize("value", ["1,2", "interval(1,2)", "tag(log,interval(1,2))", "range(1,3)"])
def test_a_sweep_for_one_loss_is_left_as_it_is(value):
    words = ["-m", "loss=ce,focal", f"loss.focal.gamma={value}"]

    assert flags_first(words) == words


def test_an_experiment_sweeps_keys_of_one_loss(expanded):
    params = {"loss": "ce,focal", "loss.focal.gamma": "1,2", "seed": 3}

    assert expanded(params=params) == [
        ["loss=ce", "seed=3"],
        ["loss=focal", "loss.gamma=1", "seed=3"],
        ["loss=focal", "loss.gamma=2", "seed=3"],
    ]
    assert expanded("loss.focal.gamma=5", "seed=4", params=params) == [
        ["loss=ce", "seed=4"],
        ["loss=focal", "loss.gamma=5", "seed=4"],
    ]


def test_a_loss_that_is_not_swept_has_keys_of_its_own_too(expanded):
    assert expanded("loss=focal", "loss.focal.gamma=1,2") == [
        ["loss=focal", "loss.gamma=1"],
        ["loss=focal", "loss.gamma=2"],
    ]


@pytest.mark.parametrize(
    ("word", "code", "answered"),
    [
        ("loss.mine.gamma=1", Exit.UNAVAILABLE, "no answer"),  # all is right, and no store is there
        ("loss.mine.gama=1", Exit.USAGE, "no such key; did you mean loss.mine.gamma?"),
        ("loss.plane.gamma=1", Exit.USAGE, "no such loss; did you mean loss.plain?"),
    ],
)
def test_a_loss_of_the_users_folder_has_keys_that_it_takes_from_another_file(
    place, capsys, word, code, answered
):
    (place / "conf" / "loss").mkdir(parents=True)
    (place / "conf" / "loss" / "mine.yaml").write_text("defaults:\n  - focal\n")
    (place / "conf" / "loss" / "plain.yaml").write_text(LOSS)
    words = ("--config-dir", "conf", "-m", "loss=mine,plain", "loss.plain.gamma=2", word)

    assert answer(train.main, *words) == code
    assert answered in capsys.readouterr().err


def test_an_entry_of_a_users_hyper_parameter_is_no_key_of_one_loss(expanded):
    words = ("loss._target_=my_module.my_loss", "loss.weights.cat=2", "seed=0,1")

    assert expanded(*words)[1] == [
        "loss=own",
        "++loss._target_=my_module.my_loss",
        "++loss.weights.cat=2",
        "seed=1",
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-m loss=ce,focal loss.focal.", "loss.focal.gamma="),
        ("-m loss=ce,focal loss.focal.ga", "loss.focal.gamma="),
        ("-m loss=ce,focal loss.focal.gamma=2 optimizer.l", "optimizer.layer_decay= optimizer.lr="),
        ("-m 'optimizer.lr=tag(log, interval(1e-4, 1))' tria", "trials="),
        ("-m optimizer.lr=interval(1e-4,1) loss=foc", "loss=focal"),
        ("-m loss=ce,focal loss.nope.", ""),
        ("-m 'optimizer.lr=tag(log, inter", ""),
    ],
)
@pytest.mark.usefixtures("place")
def test_the_shell_completes_the_command_of_a_search(monkeypatch, capsys, line, expected):
    monkeypatch.setenv("COMP_LINE", f"xent-train {line}")

    assert answer(train.main, "-sc", "query=bash") == Exit.DONE
    assert capsys.readouterr() == (f"{expected}\n", "")
