"""The points of a search: even, the same for every loss, and those of a shorter search first."""

import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, answer
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import qmc

from xent_bench.commands import train
from xent_bench.config.configure import ConfigError
from xent_bench.config.of_one_loss import of_one_loss
from xent_bench.config.schema import Train
from xent_bench.designs.adaptive import FIRST
from xent_bench.designs.cells import is_tuned
from xent_bench.designs.dimensions import Choices, Interval, Space
from xent_bench.designs.grid import grid
from xent_bench.designs.search import combinations, number_of_runs, spaces_of
from xent_bench.designs.sobol import DIMENSIONS, sobol_points
from xent_bench.designs.space import check_search
from xent_bench.designs.swept import Sweep, sweep_of

LR = "optimizer.lr=tag(log,interval(1e-4,1e-1))"
DECAY = "optimizer.weight_decay=tag(log,interval(1e-5,1e-1))"


def overrides(words: Sequence[str]) -> list[Override]:
    return OverridesParser.create().parse_overrides(list(words))


def typed(*words: str) -> Sweep:
    parsed = overrides(words)
    keys = [override.get_key_element() for override in parsed]
    return sweep_of(parsed, "ce", {key: one for key in keys if (one := of_one_loss(key))})


def points(*words: str, loss: str, trials: int = 16, seed: int = 0) -> list[tuple[str, ...]]:
    return sobol_points(spaces_of(typed(*words))[loss], trials, seed)


@pytest.mark.parametrize(
    "words",
    [
        ("loss=ce,focal", "seed=0,1"),
        ("seed=range(0,3)", "loss=ce", "optimizer.lr=0.1,0.01"),
        ("epochs=3", "optimizer.lr=1e-3,2e-3", "seed=1", "loss=focal,ce,gce", "seed=4,5"),
        ("notes=choice('a b',c)", "+data.x=[1,2],[3]", "~schedule.warmup", "name=x"),
        ("data=a,b", "loss._target_=m.f,m.g", "++loss.x=1,2"),
    ],
)
def test_a_grid_is_that_of_hydra(words):
    (ours,) = BasicSweeper.split_arguments(overrides(words), max_batch_size=None)

    assert grid(typed(*words)) == ours


def test_a_key_of_one_loss_multiplies_the_runs_of_this_loss_alone():
    assert grid(typed("loss=ce,focal", "loss.focal.gamma=1,5", "seed=0,1")) == [
        ["loss=ce", "seed=0"],
        ["loss=ce", "seed=1"],
        ["loss=focal", "loss.gamma=1", "seed=0"],
        ["loss=focal", "loss.gamma=1", "seed=1"],
        ["loss=focal", "loss.gamma=5", "seed=0"],
        ["loss=focal", "loss.gamma=5", "seed=1"],
    ]


def test_a_key_of_one_loss_replaces_the_key_of_all():
    sweep = typed("loss=focal,dual_focal", "loss.gamma=3", "loss.focal.gamma=1,2")

    assert grid(sweep) == [
        ["loss=focal", "loss.gamma=1"],
        ["loss=focal", "loss.gamma=2"],
        ["loss=dual_focal", "loss.gamma=3"],
    ]


def test_the_points_are_a_scrambled_sobol_sequence_scaled_to_the_intervals():
    """Computed here by NumPy."""
    shares = qmc.Sobol(DIMENSIONS, scramble=True, rng=np.random.default_rng(7)).random_base2(4)
    lr = 10 ** (-4 + 3 * shares[:, 0])
    momentum = 0.5 + 0.4 * shares[:, 1]
    gamma = 0.5 * (5 / 0.5) ** shares[:, 2]
    words = (LR, "optimizer.momentum=interval(0.5,0.9)", "loss=focal")
    of_focal = "loss.focal.gamma=tag(log,interval(0.5,5))"

    assert points(*words, of_focal, loss="focal", seed=7) == [
        (
            f"optimizer.lr={float(f'{a:.4g}')}",
            f"optimizer.momentum={float(f'{b:.4g}')}",
            f"loss.gamma={float(f'{c:.4g}')}",
        )
        for a, b, c in zip(lr, momentum, gamma, strict=True)
    ]


def test_the_points_stay_what_they_were():
    """Other points, of another version of SciPy, would train a search that is finished again."""
    assert points(LR, "loss.ce.x=interval(0,1)", loss="ce", trials=4) == [
        ("optimizer.lr=0.001698", "loss.x=0.9641"),
        ("optimizer.lr=0.01481", "loss.x=0.4844"),
        ("optimizer.lr=0.04337", "loss.x=0.603"),
        ("optimizer.lr=0.0003732", "loss.x=0.06469"),
    ]


def test_losses_share_the_points_of_shared_keys_whatever_else_stands_in_the_command():
    two = ("loss=ce,focal", LR, DECAY, "loss.focal.gamma=interval(0.5,5)")
    many = ("loss=gce,ce,sce", DECAY, "loss.gce.q=interval(0.1,0.9)", "loss.sce.A=1,2", LR)
    of_ce = points(*two, loss="ce")

    assert of_ce == points(*many, loss="ce")
    for words, loss in ((two, "focal"), (many, "gce"), (many, "sce")):
        of_loss = points(*words, loss=loss)
        assert [point[:2] for point in of_loss] == of_ce
        assert len({point[2] for point in of_loss}) > 1


@pytest.mark.parametrize(
    "words",
    [
        (LR, "loss.ce.x=interval(0,1)"),
        ("optimizer=adamw,sgd", "clip_norm=1,2,4", "loss.ce.x=range(0,12)"),
        ("ema=int(interval(1,40))", "loss.ce.x=1,2"),
    ],
)
def test_more_trials_begin_with_the_same_points_and_none_comes_twice(words):
    longest = points("loss=ce", *words, loss="ce", trials=64)

    assert len(set(longest)) == 64
    for trials in (1, 2, 5, 16, 33):
        assert points("loss=ce", *words, loss="ce", trials=trials) == longest[:trials]


def test_sixteen_points_fall_into_sixteen_equal_parts_of_each_interval():
    of_ce = points("loss=ce", LR, DECAY, "ema=interval(0,1)", loss="ce")
    lr, decay, ema = (
        sorted(float(point[column].partition("=")[2]) for point in of_ce) for column in (1, 2, 0)
    )

    assert [math.floor((math.log10(value) + 4) / 3 * 16) for value in lr] == list(range(16))
    assert [math.floor((math.log10(value) + 5) / 4 * 16) for value in decay] == list(range(16))
    assert [math.floor(value * 16) for value in ema] == list(range(16))


def test_another_sampler_seed_gives_other_points():
    assert not set(points(LR, loss="ce", seed=0)) & set(points(LR, loss="ce", seed=1))


def test_all_values_come_equally_often_where_they_are_few():
    words = ("loss=ce,focal", "optimizer=adamw,sgd", "clip_norm=1,2,4", "loss.focal.gamma=1,2")
    of_ce, of_focal = (points(*words, loss=loss, trials=6) for loss in ("ce", "focal"))

    assert len(set(of_ce)) == 6
    assert [point[:2] for point in of_focal] == of_ce
    twelve = points(*words, loss="focal", trials=12)
    assert set(Counter(point[:2] for point in twelve).values()) == {2}
    with pytest.raises(ConfigError, match="12 different points for every loss, and loss=ce has 6"):
        points(*words, loss="ce", trials=12)


def test_whole_numbers_get_equal_shares_or_equal_ratios_of_them():
    linear, log = (Interval("k", 1, 8, log=log, whole=True) for log in (False, True))
    shares = (np.arange(8_000) + 0.5) / 8_000
    edges = np.log((np.arange(1, 9) + 0.5) / 0.5) / np.log(8.5 / 0.5)

    assert set(Counter(linear.at(share) for share in shares).values()) == {1_000}
    assert [int(log.at(edge - 1e-9)) for edge in edges] == list(range(1, 9))
    assert [int(log.at(edge + 1e-9)) for edge in edges[:-1]] == list(range(2, 9))


bounds = st.floats(1e-300, 1e300)


@settings(max_examples=200, deadline=None)
@given(bounds, bounds, st.booleans(), st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_value_is_within_its_bounds_short_and_read_back_by_hydra(one, other, log, share, sign):
    low, high = sorted((one, other)) if log or not sign else sorted((-one, other))
    if low == high:
        return
    text = Interval("k", low, high, log=log).at(share)
    (override,) = overrides([f"k={text}"])

    assert override.value() == float(text)
    assert low <= float(text) <= high


def test_a_narrow_interval_has_as_many_digits_as_tell_its_values_apart():
    narrow = Interval("ema", 0.99, 0.9999)
    values = {narrow.at(share) for share in np.linspace(0, 1, 100, endpoint=False)}

    assert len(values) == 100
    assert max(map(len, values)) <= len("0.999999")


def test_a_shuffled_list_gives_the_points_of_the_list():
    shuffled = "optimizer.lr=shuffle(1,2,3,4,5,6,7,8)"

    assert points(shuffled, loss="ce", trials=8) == points(
        "optimizer.lr=1,2,3,4,5,6,7,8", loss="ce", trials=8
    )


def test_a_search_has_each_point_with_each_seed_in_each_setting():
    sweep = typed("loss=ce,focal", LR, "epochs=2,3", "seed=0,1", "loss.focal.gamma=2", "name=x")
    runs = combinations(sweep, 4, 0)
    lr = [point[0] for point in points(LR, loss="ce", trials=4)]

    assert len(runs) == number_of_runs(sweep, 4) == 2 * 4 * 2 * 2
    assert [run[1] for run in runs] == [word for _ in range(2) for word in lr for _ in range(4)]
    assert runs[1] == ["loss=ce", lr[0], "epochs=2", "seed=1", "name=x"]
    assert runs[-1] == ["loss=focal", lr[3], "epochs=3", "seed=1", "loss.gamma=2", "name=x"]


def test_only_hyper_parameters_with_several_values_are_searched():
    keys = ("seed=0,1", "epochs=1,2", "model=a,b", "machine.jobs=1,2", "noise.rate=0,1", "ema=0.9")
    (space,) = spaces_of(typed(*keys, "optimizer=adamw,sgd", "clip_norm=1,2")).values()

    assert space == Space(
        "ce", (Choices("clip_norm", ("1", "2")), Choices("optimizer", ("adamw", "sgd"))), ()
    )


def test_the_page_names_what_may_be_tuned():
    page = (ROOT / "xent_bench/sweeps/README.md").read_text()
    tops = {field.name for field in fields(Train) if is_tuned(field.name)}

    assert tops == {"optimizer", "clip_norm", "ema"}
    assert "`optimizer`, `optimizer.*`, `clip_norm`, `ema` and `loss.*`" in page
    assert f"the first {FIRST} of these points" in page
    assert f"At most {DIMENSIONS} keys" in page


def test_a_loss_is_searched_over_a_limited_number_of_keys():
    keys = [f"optimizer.k{number:02}=interval(0,1)" for number in range(DIMENSIONS)]
    check_search(typed(*keys))

    with pytest.raises(ConfigError, match="at most 16 keys to search, got 17 for loss=ce"):
        check_search(typed(*keys, "loss.gamma=1,2"))


SWEEP = ("-m", "data=synthetic", "data.n=600", "model=linear", "epochs=1", "machine.offline=true")


def test_a_search_that_is_typed_again_with_more_trials_trains_the_new_ones_alone(
    tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["xent-train"])
    shown = []
    for trials in (1, 2):
        assert answer(train.main, *SWEEP, "loss=focal", LR, f"trials={trials}") == 0
        shown.append(capfd.readouterr().out)
    commands = {file.name for file in Path("runs/default").iterdir() if file.is_dir()}

    assert "1 run: 1 trained" in shown[0]
    assert "2 runs, 1 to train" in shown[1]
    assert "1 trained, 1 done before" in shown[1]
    assert len(commands) == 2
