"""Configs that share a composition of Hydra's are those that it composes one by one."""

from collections.abc import Iterator

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from xent_bench.config.configure import ConfigError
from xent_bench.config.schema import CONF, register_schema
from xent_bench.sweeps import composer
from xent_bench.sweeps.composer import Composer

BASE = ["experiment=quickstart", "loss=focal"]


@pytest.fixture
def hydra() -> Iterator[None]:
    """Hydra, ready to compose our configs."""
    register_schema()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The overrides of each composition of Hydra's."""
    seen: list[list[str]] = []

    def noting(name, overrides):
        seen.append(overrides)
        return compose(name, overrides)

    monkeypatch.setattr(composer, "compose", noting)
    return seen


@pytest.mark.parametrize(
    ("words", "shares"),
    [
        (["seed=3", "loss.gamma=1.5", "optimizer.lr=3e-4"], True),
        (["loss=label_smoothing", "loss.smoothing=0.2"], True),
        (["loss.gamma=1", "loss.gamma=2"], True),  # the last one counts
        (["name='a, b=c'", "notes='${seed} apples'", "experiment=heads"], True),
        (["model=mlp", "model.width=${batch_size}", "batch_size=64"], True),
        (["tags={a: 1, b: x y}", "clip_norm=null"], True),
        (["foreign=[svhn,noise_uniform]", "machine.threads=2", "machine=cpu"], True),
        (["hydra.verbose=true", "seed=1"], False),
        (["+loss.more=1", "loss.more=2"], False),
        (["~optimizer.weight_decay", "seed=2"], False),
        (["++loss.gamma=4"], False),
    ],
)
@pytest.mark.usefixtures("hydra")
def test_a_config_is_that_of_a_composition_by_itself(whole, words, shares):
    shared = Composer("train")
    shared.config([*BASE, "seed=9", *words[:1]])
    before = len(whole)
    for config in (shared.config([*BASE, *words]), shared.config([*BASE, *words])):
        expected = compose("train", [*BASE, *words])
        assert config == expected
        assert OmegaConf.to_yaml(config) == OmegaConf.to_yaml(expected)
        assert OmegaConf.to_container(config, resolve=True) == OmegaConf.to_container(
            expected, resolve=True
        )
        assert OmegaConf.is_struct(config) == OmegaConf.is_struct(expected)
        with pytest.raises(Exception, match="numbr"):
            OmegaConf.update(config, "numbr", 1)
    assert ([*BASE, *words] in whole[before:]) != shares


@pytest.mark.usefixtures("hydra")
def test_runs_that_differ_in_values_are_one_composition(whole):
    shared = Composer("train")
    configs = [
        shared.config([f"loss={loss}", f"seed={seed}", f"optimizer.lr={rate}"])
        for loss in ("ce", "focal")
        for seed in range(10)
        for rate in (0.1, 0.2)
    ]

    assert whole == [["loss=ce"], ["loss=focal"]]
    assert [config.seed for config in configs[:4]] == [0, 0, 1, 1]  # none has another's values
    assert {config.optimizer.lr for config in configs} == {0.1, 0.2}


@pytest.mark.parametrize(
    "words",
    [
        ["loss=focl"],
        ["seeed=1"],
        ["seed=one"],
        ["loss.gama=1"],
        ["seed=[1"],
        ["optimizer=sgd", "epochs={a: 1}"],
        ["seed@model=1"],
    ],
)
@pytest.mark.usefixtures("hydra")
def test_a_mistake_is_named_as_in_a_composition_by_itself(words):
    shared = Composer("train")
    shared.config(BASE)
    with pytest.raises(Exception) as whole:  # noqa: PT011  it may be any of Hydra's
        Composer("train")._composed([*BASE, *words])
    with pytest.raises(type(whole.value)) as error:
        shared.config([*BASE, *words])

    assert str(error.value) == str(whole.value)
    if isinstance(error.value, ConfigError):
        assert error.value.key
