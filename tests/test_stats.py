"""Statistics over seeds: agreement with textbooks, and with simulations of what they promise."""

from itertools import combinations
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy import stats
from scipy.special import gamma
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.weightstats import ttost_paired

from xent_bench.comparison.stats import (
    best_of,
    difference,
    estimate,
    holm,
    largest_spread,
    p_of_all_pairs,
    seeds_needed,
)
from xent_bench.comparison.still_falling import still_falling
from xent_bench.metrics.last_tenth import last_tenth

MARGIN = 0.5


def draws(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_an_interval_is_students_t():
    values = [0.1, 0.4, 0.2, 0.35]
    low, high = stats.t.interval(0.95, 3, loc=fmean(values), scale=stats.sem(values))
    found = estimate(values)

    assert found.mean - found.half_width == pytest.approx(low)
    assert found.mean + found.half_width == pytest.approx(high)


def test_one_run_has_no_interval():
    assert estimate([0.5]) == (0.5, None, 1)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    found = [estimate(values) for values in draws((4000, 3)).tolist()]
    covered = fmean(abs(each.mean) <= each.half_width for each in found)

    assert covered == pytest.approx(0.95, abs=0.012)  # 3.5 standard errors


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_paired_interval_covers_the_difference_though_seeds_differ_more_than_losses(n):
    seeds, noise = 10 * draws((3000, n), 1), draws((3000, n, 2), 2)
    pairs = [
        (seed + each[:, 0] + 0.3, seed + each[:, 1])
        for seed, each in zip(seeds, noise, strict=True)
    ]
    found = [difference(*pair, MARGIN, 1) for pair in pairs]
    covered = fmean(abs(each.mean - 0.3) <= each.half_width for each in found)

    assert covered == pytest.approx(0.95, abs=0.014)
    assert stdev(each.mean for each in found) < 1.1 * (2 / n) ** 0.5


def test_a_difference_agrees_with_a_t_test_of_the_deltas():
    ours, theirs = draws((2, 6), 3)
    found = difference(ours, theirs, MARGIN, 1)
    test = stats.ttest_rel(ours, theirs)

    assert found.p == pytest.approx(test.pvalue)
    assert found.p_tie == pytest.approx(ttost_paired(ours, theirs, -MARGIN, MARGIN)[0])
    interval = test.confidence_interval()
    assert found.mean + found.half_width == pytest.approx(interval.high)


def test_swapping_the_losses_turns_the_sign_and_nothing_else():
    ours, theirs = draws((2, 5), 4)
    one, other = (difference(*pair, MARGIN, 1) for pair in ((ours, theirs), (theirs, ours)))

    assert one.mean == pytest.approx(-other.mean)
    assert one.effect_size == pytest.approx(-other.effect_size)
    assert one.improvement == pytest.approx(1 - other.improvement)
    assert (one.p, one.p_tie) == pytest.approx((other.p, other.p_tie))


def test_an_effect_size_is_unbiased_where_cohens_d_is_not():
    deltas = draws((20_000, 4), 5) + 1.0  # true effect: 1 standard deviation
    found = [difference(each, np.zeros(4), MARGIN, 1).effect_size for each in deltas]
    cohen = [fmean(each) / stdev(each) for each in deltas]

    assert fmean(found) == pytest.approx(1, abs=0.025)
    assert fmean(cohen) > 1.3


def test_improvement_counts_a_tie_as_half():
    assert difference([3, 1, 2, 2], [2, 2, 2, 1], MARGIN, 1).improvement == 2.5 / 4
    assert difference([3, 1, 2, 2], [2, 2, 2, 1], MARGIN, -1).improvement == 1.5 / 4


@pytest.mark.parametrize("shift", [0.0, 0.25])
def test_differences_that_are_all_equal_prove_nothing(shift):
    """As where three seeds each get one image more right: the next seed may not."""
    found = difference([1 + shift, 2 + shift, 3 + shift], [1, 2, 3], MARGIN, 1)

    assert found.mean == shift
    assert (found.half_width, found.p, found.p_tie, found.effect_size) == (None,) * 4


def test_an_infinite_value_leaves_no_interval():
    found = difference([float("inf"), 1.0], [1.0, 1.0], MARGIN, -1)

    assert found.mean == float("inf")
    assert (found.half_width, found.p) == (None, None)
    assert found.improvement == 0.25


def test_holm_multiplies_step_by_step_and_never_falls():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([None]) == [None]
    assert holm([]) == []


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_holm_agrees_with_statsmodels(n):
    ps = np.random.default_rng(n).random(n) ** 3

    assert holm(ps.tolist()) == pytest.approx(multipletests(ps, method="holm")[1])


def test_of_losses_that_are_equal_a_family_errs_in_five_of_a_hundred_at_most():
    """Four losses of one quality against a baseline of the same, five seeds."""
    values = draws((1500, 5, 5), 6)
    errors = 0
    for losses in values:
        ps = holm([difference(each, losses[0], MARGIN, 1).p for each in losses[1:]])
        errors += min(ps) < 0.05

    assert errors / 1500 < 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5


def test_a_tie_is_claimed_wrongly_in_five_of_a_hundred_at_most():
    """Of losses that differ by just the margin."""
    deltas = 0.2 * draws((3000, 4), 7) + MARGIN
    wrong = fmean(difference(each, np.zeros(4), MARGIN, 1).p_tie < 0.05 for each in deltas)

    assert wrong == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("effect", [0.3, 1.0, 3.0])
def test_the_seeds_needed_agree_with_statsmodels(effect):
    n = seeds_needed(effect, 1.0)
    power = TTestPower().power

    assert power(effect, n, 0.05) >= 0.8
    assert n == 2 or power(effect, n - 1, 0.05) < 0.8


@pytest.mark.parametrize("level", [0.05, 0.05 / 4, 0.05 / 40])
@pytest.mark.parametrize("effect", [2.0, 3.2, 4.7, 5.7, 8.1, 16.0, 39.0, 200.0])
def test_the_seeds_needed_for_an_effect_of_many_spreads_are_counted_too(effect, level):
    """By the integral over the spread that is seen; SciPy's distribution is NaN in far tails."""

    def power(n: int) -> float:
        df, centre = n - 1, effect * n**0.5
        critical = stats.t.ppf(1 - level / 2, df)
        seen, step = np.linspace(0, 10, 100_001, retstep=True)  # of the true spread
        weight = stats.chi.pdf(seen * df**0.5, df) * df**0.5 * step
        return float(weight @ stats.norm.cdf(centre - critical * seen))

    n = seeds_needed(effect, 1.0, level)
    assert power(n) >= 0.8
    assert n == 2 or power(n - 1) < 0.8


def test_the_seeds_that_are_said_to_be_needed_show_the_difference_in_eight_of_ten_sweeps():
    n = seeds_needed(1.0, 1.2)
    deltas = 1.2 * draws((3000, n), 8) + 1.0
    seen = fmean(stats.ttest_1samp(deltas, 0, axis=1).pvalue < 0.05)

    assert 0.8 - 0.02 < seen < 0.88
    assert seeds_needed(0.5, 1.2) > 3 * n
    assert seeds_needed(1e-6, 1.0) is None


def test_the_largest_spread_is_exceeded_once_in_five_times():
    values = draws((4000, 3), 9)
    exceeded = fmean(largest_spread(stdev(each), 3) < 1 for each in values)

    assert exceeded == pytest.approx(0.2, abs=0.025)


def test_best_of_k_is_the_mean_over_all_choices_of_k():
    chosen_by, reported = draws((2, 6), 10).tolist()
    for k in range(1, 7):
        picks = [min(subset, key=chosen_by.__getitem__) for subset in combinations(range(6), k)]

        assert best_of(k, chosen_by, reported) == pytest.approx(fmean(reported[i] for i in picks))


@pytest.mark.parametrize("epochs", [5, 20, 60])
def test_a_curve_that_falls_smoothly_is_seen_to_fall_with_one_run(epochs):
    """Bent as training bends it: its bend is no noise."""
    curve = {e: {"val/nll": 0.1 + 2 * 0.7 ** (5 * e / epochs)} for e in range(1, epochs + 1)}
    known = last_tenth(curve)

    assert still_falling([known]) == pytest.approx(known["val_last_tenth/fall"])


def test_a_fall_of_a_thousandth_is_none():
    curve = {e: {"val/nll": 0.5 + 1e-5 * (20 - e)} for e in range(1, 21)}

    assert still_falling([last_tenth(curve)] * 3) is None


@pytest.mark.parametrize("n", [2, 3, 6])
@pytest.mark.parametrize("widening", [1.0, 1.4])
def test_all_pairs_at_once_are_the_pairs_one_by_one(n, widening):
    rows = draws((4, n), 11).tolist()
    rows.append(rows[0])  # a twin: no spread
    rows.append([float("inf"), *rows[1][1:]])
    one_by_one = [
        difference(a, b, MARGIN, 1, widening=widening).p for a, b in combinations(rows, 2)
    ]

    assert p_of_all_pairs(rows, widening) == [
        None if p is None else pytest.approx(p) for p in one_by_one
    ]


def test_pairs_of_one_run_have_no_p():
    assert p_of_all_pairs([[1.0], [2.0], [3.0]]) == [None] * 3


@pytest.mark.parametrize("n", [3, 4, 7])
def test_the_factor_of_hedges_is_that_of_the_gamma_function(n):
    deltas = draws((n,), 12)
    df = n - 1
    factor = gamma(df / 2) / (gamma((df - 1) / 2) * (df / 2) ** 0.5)

    assert difference(deltas, np.zeros(n), MARGIN, 1).effect_size == pytest.approx(
        fmean(deltas) / stdev(deltas) * factor
    )


def test_a_widened_interval_is_so_much_wider():
    values = draws((5,), 13).tolist()

    assert estimate(values, widening=1.5).half_width == pytest.approx(
        1.5 * estimate(values).half_width
    )
    assert difference(values, [0.0] * 5, MARGIN, 1, widening=1.5).half_width == pytest.approx(
        1.5 * estimate(values).half_width
    )
