"""Successive halving: which trials go on, and what that costs."""

import math
from itertools import pairwise

import pytest

from xent_bench.config.configure import ConfigError
from xent_bench.designs.halving import rung_epochs, survivors


@pytest.mark.parametrize(
    ("epochs", "rungs", "ends"),
    [
        (20, 1, [20]),
        (20, 3, [7, 13, 20]),  # 6.67, 13.33
        (5, 2, [3, 5]),  # 2.5
        (10, 4, [3, 5, 8, 10]),  # 2.5, 7.5
        (3, 3, [1, 2, 3]),
        (10**9, 3, [333333333, 666666667, 10**9]),
    ],
)
def test_rungs_end_at_equal_steps_of_the_epochs(epochs, rungs, ends):
    assert rung_epochs(epochs, rungs) == ends


def test_every_rung_has_at_least_one_epoch_of_its_own():
    for epochs in range(1, 60):
        for rungs in range(1, epochs + 1):
            ends = [0, *rung_epochs(epochs, rungs)]
            assert ends[-1] == epochs
            assert all(later > earlier for earlier, later in pairwise(ends))


@pytest.mark.parametrize("rungs", [0, 4])
def test_more_rungs_than_epochs_are_refused_with_what_is_expected(rungs):
    with pytest.raises(ConfigError, match=f"rungs: .* 1 to 3 with epochs=3, got {rungs}"):
        rung_epochs(3, rungs)


def test_the_better_half_rounded_up_goes_on_in_the_order_of_the_trials():
    nll = {"a": 0.5, "b": 0.2, "c": 0.9, "d": 0.1, "e": 0.4}

    assert survivors(nll, -1) == ["b", "d", "e"]
    assert survivors(nll, 1) == ["a", "c", "e"]


def test_of_equal_trials_the_earlier_ones_go_on():
    assert survivors({"a": 0.3, "b": 0.2, "c": 0.3, "d": 0.3}, -1) == ["a", "b"]
    assert survivors({"a": 0.3, "b": 0.3, "c": 0.3, "d": 0.3}, 1) == ["a", "b"]


def test_a_trial_that_failed_never_goes_on_and_counts_in_the_half():
    assert survivors({"a": None, "b": 0.2, "c": 0.3, "d": 0.1}, 1) == ["b", "c"]
    assert survivors({"a": None, "b": math.nan, "c": None, "d": 0.1}, 1) == ["d"]
    assert survivors({"a": None, "b": None}, -1) == []
    assert survivors({}, -1) == []
    # infinite is a bad score and no failure
    assert survivors({"a": math.inf, "b": None, "c": None}, -1) == ["a"]
