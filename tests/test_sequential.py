"""Group-sequential decisions: right values, what they never depend on, and how often they err."""

import math
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy import stats

from xent_bench.comparison.boundary import Boundary
from xent_bench.comparison.sequential import (
    LOOKS,
    Decision,
    decide,
    looks_until,
    most_runs_left,
    next_seeds,
)
from xent_bench.comparison.stats import difference, holm

MARGIN = 0.1
BOUNDARY = Boundary(LOOKS)


def draws(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def smallest_ratios(looks: tuple[int, ...], shape: float, n: int) -> dict[int, np.ndarray]:
    """Plain simulation: the smallest p / weight over the looks without a difference, by sides."""
    values = draws((n, looks[-1]), 1)
    smallest = {1: np.full(n, np.inf), 2: np.full(n, np.inf)}
    for k in looks:
        t = stats.ttest_1samp(values[:, :k], 0, axis=1).statistic
        weight = (k / looks[-1]) ** shape
        for sides, tail in ((1, t), (2, abs(t))):
            p = sides * stats.t.sf(tail, k - 1)
            smallest[sides] = np.minimum(smallest[sides], p / weight)
    return smallest


@pytest.mark.parametrize(("looks", "shape"), [(LOOKS, 1.0), ((3, 10), 0.0), ((2, 4, 6), 1.0)])
def test_the_chance_of_a_boundary_is_that_of_a_plain_simulation(looks, shape):
    n = 20_000
    for sides, smallest in smallest_ratios(looks, shape, n).items():
        for ratio in (0.003, 0.02, 0.1, 0.4, 0.75):
            chance = Boundary(looks, shape).p(ratio, sides)
            error = math.sqrt(chance * (1 - chance) / n)
            assert fmean(smallest <= ratio) == pytest.approx(chance, abs=4 * error + 0.01 * chance)


@pytest.mark.parametrize("ratio", [1e-12, 1e-6, 1e-4, 0.01, 0.3])
@pytest.mark.parametrize("sides", [1, 2])
def test_the_chance_lies_between_that_of_the_last_look_and_the_sum_over_looks(ratio, sides):
    chance = BOUNDARY.p(ratio, sides)

    assert ratio < chance <= 1.0001 * ratio * sum(LOOKS) / LOOKS[-1]


def test_the_chance_of_two_looks_is_that_of_an_integral():
    """Looks at two and at three pairs: by quadrature over the third value, given the first two."""
    ratio = 0.02
    low, high = 2 / 3 * ratio, ratio
    first = stats.t.isf(low / 2, 1)
    # by symmetry under rotation the first two values are (cos a, sin a) times a length
    angles = (np.arange(2000) + 0.5) / 2000 * 2 * np.pi
    lengths = np.sqrt(-2 * np.log((np.arange(400) + 0.5) / 400))  # Rayleigh
    x, y = (lengths[:, None] * turn(angles) for turn in (np.cos, np.sin))
    at_first = abs(x + y) / np.maximum(abs(x - y), 1e-300) >= first
    # the third value makes t of three reach its critical value between two roots, if anywhere
    third = stats.norm.ppf((np.arange(400) + 0.5) / 400)
    critical = stats.t.isf(high / 2, 2)
    chance = at_first.mean()
    x, y = x[~at_first][::97], y[~at_first][::97]
    share = 1 - at_first.mean()
    total = x[:, None] + y[:, None] + third
    squares = x[:, None] ** 2 + y[:, None] ** 2 + third**2
    t = total / 3 / np.sqrt((squares - total**2 / 3) / 2 / 3)
    chance += share * (abs(t) >= critical).mean()

    assert Boundary((2, 3)).p(ratio) == pytest.approx(chance, rel=0.03)


def test_one_look_is_the_t_test():
    boundary = Boundary((7,))

    assert [boundary.p(p) for p in (1e-15, 0.03, 0.8)] == [1e-15, 0.03, 0.8]
    assert boundary.nominal(7) == 0.05


def test_the_nominal_levels_together_spend_the_error_rate():
    levels = [BOUNDARY.nominal(n) for n in LOOKS]

    assert BOUNDARY.p(levels[-1]) == pytest.approx(0.05)
    assert [level / levels[-1] for level in levels] == pytest.approx([n / 30 for n in LOOKS])
    spent = BOUNDARY.spent()
    assert spent == sorted(spent)
    assert spent[0] == pytest.approx(levels[0])
    assert spent[-1] == pytest.approx(0.05)


@pytest.mark.parametrize("level", [0.05, 0.05 / 39, 1e-12])
def test_a_nominal_level_is_the_inverse_of_the_chance(level):
    assert BOUNDARY.p(BOUNDARY.nominal(30, level)) == pytest.approx(level)


@pytest.mark.parametrize(
    ("most", "expected"),
    [(30, LOOKS), (3, (3,)), (2, (2,)), (10, (3, 5, 8, 10)), (60, (*LOOKS, 48, 60))],
)
def test_the_last_look_is_after_the_most_seeds(most, expected):
    assert looks_until(most) == expected


def scores(effects: dict[str, float], n: int = 30, seed: int = 3) -> dict[str, list[float]]:
    """Scores of losses whose paired differences to ce have a spread of about 1."""
    rng = np.random.default_rng(seed)
    return {
        label: (rng.normal(size=n) * 0.5**0.5 + effect).tolist()
        for label, effect in {"ce": 0.0, **effects}.items()
    }


def by_label(decisions: list[Decision]) -> dict[str, Decision]:
    return {decision.label: decision for decision in decisions}


def test_one_look_decides_as_the_fixed_test_does():
    values = scores({"focal": 1.0, "mse": 0.5, "mae": 0.0}, n=9)
    decisions = decide(values, "ce", (9,), MARGIN, 1)
    deltas = [difference(values[d.label], values["ce"], MARGIN, 1) for d in decisions]

    assert [d.difference for d in decisions] == deltas
    assert [d.p for d in decisions] == holm([delta.p for delta in deltas])
    assert [d.p_tie for d in decisions] == holm([delta.p_tie for delta in deltas])


def test_a_p_value_is_the_smallest_over_the_looks_and_corrected():
    values = scores({"focal": 0.8})
    (decision,) = decide(values, "ce", LOOKS, 1e-6, 1)
    deltas = np.array(values["focal"]) - values["ce"]
    ratios = [stats.ttest_1samp(deltas[:n], 0).pvalue * 30 / n for n in LOOKS]
    first = next(look for look in range(6) if BOUNDARY.p(min(ratios[: look + 1])) < 0.05)

    assert (decision.verdict, decision.look, decision.n) == ("better", first, LOOKS[first])
    assert decision.p == pytest.approx(BOUNDARY.p(min(ratios[: first + 1])))
    assert decision.mean == pytest.approx(deltas[: LOOKS[first]].mean())
    t = stats.t.isf(BOUNDARY.nominal(decision.n) / 2, decision.n - 1)
    half = t * stdev(deltas[: decision.n]) / decision.n**0.5
    assert decision.half_width == pytest.approx(half)
    assert decision.mean > decision.half_width  # as the only loss: interval and verdict agree


def test_a_tie_is_the_smallest_of_the_larger_one_sided_p():
    values = scores({"focal": 0.05})
    margin = 1.0
    (decision,) = decide(values, "ce", LOOKS, margin, 1)
    deltas = np.array(values["focal"]) - values["ce"]
    ratios = [
        30
        / n
        * max(
            stats.ttest_1samp(deltas[:n], -margin, alternative="greater").pvalue,
            stats.ttest_1samp(deltas[:n], margin, alternative="less").pvalue,
        )
        for n in LOOKS[: decision.look + 1]
    ]

    assert decision.verdict == "tie"
    assert decision.p_tie == pytest.approx(BOUNDARY.p(min(ratios), 1))
    assert BOUNDARY.p(min(ratios[:-1]), 1) >= 0.05


def test_where_less_is_better_the_verdict_turns():
    values = scores({"focal": 2.0})

    assert [decide(values, "ce", LOOKS, 1e-6, sign)[0].verdict for sign in (1, -1)] == [
        "better",
        "worse",
    ]


def test_seeds_beyond_a_look_change_nothing():
    values = scores({"focal": 2.0, "mse": 0.1, "mae": -1.5})
    all_at_once = decide(values, "ce", LOOKS, MARGIN, 1)
    have = {label: [] for label in values}
    while needed := next_seeds(have, "ce", LOOKS, decide(have, "ce", LOOKS, MARGIN, 1)):
        have |= {label: values[label][:n] for label, n in needed.items()}

    assert decide(have, "ce", LOOKS, MARGIN, 1) == all_at_once
    closed = by_label(all_at_once)
    assert len(have["focal"]) == closed["focal"].n < 30
    assert len(have["ce"]) == max(decision.n for decision in all_at_once)


def test_all_open_losses_come_to_a_look_before_one_goes_on():
    values = {"ce": [0.1] * 3, "focal": [0.1, 0.2], "mse": [0.0] * 8}
    decisions = decide(values, "ce", LOOKS, MARGIN, 1)

    assert [decision.n for decision in decisions] == [0, 3]
    assert next_seeds(values, "ce", LOOKS, decisions) == {"focal": 3}
    assert most_runs_left(values, "ce", LOOKS, decisions) == 28 + 22 + 27


def test_nothing_is_needed_when_all_is_decided_or_the_seeds_are_spent():
    values = scores({"focal": 9.0})
    assert next_seeds(values, "ce", LOOKS, decide(values, "ce", LOOKS, MARGIN, 1)) == {}

    undecided = scores({"focal": 0.0}, n=3)
    decisions = decide(undecided, "ce", (3,), 1e-6, 1)
    assert decisions[0].is_open
    assert next_seeds(undecided, "ce", (3,), decisions) == {}


def test_equal_differences_prove_nothing_at_any_look():
    (decision,) = decide({"ce": [0.0] * 30, "mse": [1.0] * 30}, "ce", LOOKS, MARGIN, 1)

    assert (decision.verdict, decision.n, decision.p, decision.half_width) == (
        "open",
        30,
        None,
        None,
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_run_without_a_finite_score_ends_the_course_of_its_loss(value):
    values = scores({"focal": 2.0, "mae": 0.0})
    values["mae"][3] = value
    decisions = by_label(decide(values, "ce", LOOKS, MARGIN, 1))

    assert (decisions["mae"].verdict, decisions["mae"].look) == ("not judged", 1)
    assert decisions["focal"].verdict == "better"


def test_a_loss_in_another_format_is_not_tested_and_costs_the_others_nothing():
    values = scores({"focal": 0.9})
    (alone,) = decide(values, "ce", LOOKS, MARGIN, 1)
    decisions = by_label(
        decide(values | {"sparse_ce": values["ce"][:3]}, "ce", LOOKS, MARGIN, 1, same={"sparse_ce"})
    )

    assert decisions["focal"] == alone
    assert (decisions["sparse_ce"].verdict, decisions["sparse_ce"].n) == ("same", 3)


def test_a_loss_that_no_look_has_tested_counts_in_the_correction():
    values = scores({"focal": 0.9})
    (alone,) = decide(values, "ce", (3, 30), MARGIN, 1)
    with_late = decide(values | {"late": []}, "ce", (3, 30), MARGIN, 1)

    assert with_late[0].p == pytest.approx(min(1, 2 * alone.p))
    assert (with_late[1].verdict, with_late[1].n, with_late[1].p) == ("open", 0, None)


@pytest.mark.parametrize("looks", [(), (1, 3), (3, 3), (5, 3)])
def test_looks_that_are_not_ascending_numbers_of_pairs_are_refused(looks):
    with pytest.raises(ValueError, match="ascending numbers of 2 seeds or more"):
        decide(scores({"focal": 0.0}), "ce", looks, MARGIN, 1)


def test_a_missing_baseline_is_refused():
    with pytest.raises(ValueError, match="expected the baseline among focal, got ce"):
        decide({"focal": [1.0]}, "ce", LOOKS, MARGIN, 1)
