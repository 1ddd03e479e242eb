"""Verdicts on calibration of a loss, from those of its seeds; and whether training was at rest."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from xent_bench.comparison.still_falling import still_falling
from xent_bench.comparison.trust import majority, over_seeds, trust
from xent_bench.metrics.accuracy import balanced_top1_error
from xent_bench.metrics.last_tenth import last_tenth
from xent_bench.metrics.ranked import Ranked, level
from xent_bench.metrics.reliability import reliability
from xent_bench.metrics.reported import FALL, FREEDOM, NOISE, REACHED
from xent_bench.metrics.uncertainty import NullDraws
from xent_bench.runs.result import Run


def judged(loss: str, seed: int, word: str, p: float) -> Run:
    tags = {f"{prefix}_verdict": word for prefix in ("test", "test_ts", "test_ts_recipe")}
    metrics = {"test_null/p": p, "test_ts_recipe_null/p": p}
    params = {"loss": loss, "data": "d", "model": "m", "seed": seed}
    return Run(f"{loss}-s{seed}", "e", params, metrics, tags, "", 100, 1.0)


@pytest.mark.parametrize(
    ("ps", "together"),
    [
        ([0.01], 0.01),
        ([0.01, 0.04], 0.04),
        ([0.9, 0.01, 0.02], 0.03),
        ([0.01, 0.5, 0.02, 0.03], 0.04),
        ([0.9, 0.9, 0.9], 1.0),
    ],
)
def test_the_p_of_several_seeds_is_small_where_most_of_them_are(ps, together):
    assert over_seeds(ps) == pytest.approx(together)


def test_seeds_that_share_their_test_images_err_in_five_of_a_hundred_at_most():
    """Three seeds that all but agree, and three that have nothing in common."""
    rng = np.random.default_rng(0)
    for share in (0.0, 0.9, 1.0):
        common, own = rng.standard_normal((4000, 1)), rng.standard_normal((4000, 3))
        z = share**0.5 * common + (1 - share) ** 0.5 * own
        ps = 2 * stats.norm.sf(np.abs(z))
        errors = np.mean([over_seeds(row) < 0.05 for row in ps.tolist()])

        assert errors < 0.05 + 3 * (0.05 * 0.95 / 4000) ** 0.5


def test_a_word_of_half_the_seeds_is_no_majority():
    assert majority(["mixed", "mixed", "over-confident"]) == "mixed"
    assert majority(["mixed", "over-confident"]) == "undecided"


def test_verdicts_are_corrected_over_losses():
    """One p of 0.03 is shown alone and not among three."""
    one = {"ce": [judged("ce", 0, "over-confident", 0.03)]}
    three = one | {loss: [judged(loss, 0, "within noise", 0.8)] for loss in ("mse", "gce")}

    assert trust(one, "test") == trust(one, "test_ts") == {"ce": "over-confident"}
    assert set(trust(three, "test").values()) == {"within noise"}


def test_seeds_that_are_off_in_different_ways_leave_it_undecided():
    runs = [judged("ce", 0, "over-confident", 1e-6), judged("ce", 1, "under-confident", 1e-6)]

    assert trust({"ce": runs}, "test") == {"ce": "undecided"}


def test_a_verdict_without_its_p_is_refused():
    runs = [judged("ce", seed, "mixed", 0.1) for seed in range(3)]
    del runs[1].metrics["test_ts_recipe_null/p"]

    assert trust({"ce": runs}, "test") == {"ce": "within noise"}
    with pytest.raises(ValueError, match="ce-s1: expected test_ts_recipe_null/p"):
        trust({"ce": runs}, "test_ts")


def test_the_last_tenth_of_a_curve_its_noise_and_its_degrees_of_freedom():
    """Forty epochs: four back; third differences at that distance, of the last twenty points."""
    values = np.random.default_rng(1).standard_normal(40)
    known = last_tenth({epoch: {"val/nll": value} for epoch, value in enumerate(values, 1)})
    late = values[-20:]
    bends = late[:-12] - 3 * late[4:-8] + 3 * late[8:-4] - late[12:]

    assert known[FALL] == values[35] - values[39]
    assert known[REACHED] == values[39]
    assert known[NOISE] == pytest.approx(math.sqrt((bends**2).mean() / 20))
    assert known[FREEDOM] == pytest.approx(8 * 100 / 231 / 4)


@pytest.mark.parametrize(("epochs", "back", "bends"), [(5, 1, 2), (10, 1, 3), (26, 3, 4)])
def test_a_short_curve_uses_what_it_has(epochs, back, bends):
    known = last_tenth({e: {"val/nll": float(e % 3)} for e in range(1, epochs + 1)})

    assert known[FALL] == float((epochs - back) % 3) - float(epochs % 3)
    assert known[FREEDOM] == pytest.approx(bends * 100 / 231 / back)


def test_a_curve_of_one_epoch_or_with_a_hole_tells_nothing():
    assert last_tenth({1: {"val/nll": 1.0}}) == {}
    assert last_tenth({1: {"val/nll": 1.0}, 2: {"val/nll": math.inf}}) == {}
    assert NOISE not in last_tenth({e: {"val/nll": 1.0 / e} for e in (1, 2, 3)})


def test_a_loss_without_probabilities_is_watched_by_its_own():
    curve = {1: {"val/loss": 3.0}, 2: {"val/loss": 1.0}}

    assert last_tenth(curve) == {FALL: 2.0, REACHED: 1.0}


def test_falls_are_judged_by_a_t_test_over_seeds():
    falls = [0.02, 0.05, 0.03, 0.01]
    runs = [{FALL: fall, REACHED: 0.5} for fall in falls]
    p = stats.ttest_1samp(falls, 0, alternative="greater").pvalue
    most = int(0.05 / p)

    assert still_falling(runs, most) == pytest.approx(np.mean(falls))
    assert still_falling(runs, most + 1) is None
    assert still_falling([*runs, {}]) is None
    assert still_falling([{FALL: 0.1, REACHED: 0.5}] * 3) is None  # no spread to judge by


def test_one_run_is_judged_by_its_own_noise():
    run = {FALL: 0.1, REACHED: 0.5, NOISE: 0.02, FREEDOM: 3.0}
    p = stats.t.sf(0.1 / (2**0.5 * 0.02), 3.0)
    most = int(0.05 / p)

    assert still_falling([run], most) == 0.1
    assert still_falling([run], most + 1) is None
    assert still_falling([run | {NOISE: 0.0}]) is None


def ranked_with_gap(gap: float) -> Ranked:
    """A net that is so much too sure, in one bin: its ECE is the size of that."""
    correct = np.full(100, 0.9 - gap)
    return level(np.full(100, 0.9), correct)


def normal_draws(spread: float) -> NullDraws:
    """Overconfidence as drawn by quantiles of a normal, and an ECE of no account."""
    quantiles = spread * stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    return NullDraws(np.full(1000, 0.5) + 0.1 * quantiles, quantiles)


@pytest.mark.parametrize("gap", [0.015, -0.015])
def test_a_p_within_the_draws_counts_them(gap):
    """By the sum, two-sided and doubled: the ECE is tested too."""
    expected = 2 * 2 * (1 + (normal_draws(0.01).overconfidence >= 0.015).sum()) / 1001

    assert normal_draws(0.01).p(ranked_with_gap(gap)) == pytest.approx(expected)


@pytest.mark.parametrize("gap", [0.05, -0.05])
def test_a_p_beyond_the_draws_is_that_of_a_normal_tail(gap):
    draws = normal_draws(0.01)
    expected = 2 * 2 * stats.norm.sf(0.05 / draws.overconfidence.std())

    assert draws.p(ranked_with_gap(gap)) == pytest.approx(expected, rel=1e-3)


def test_the_tail_of_an_ece_is_that_of_a_gamma():
    rng = np.random.default_rng(0)
    ece = rng.gamma(4.0, 0.01, 1000)
    mean, spread = ece.mean(), ece.std()
    wide = NullDraws(ece, 10 * rng.standard_normal(1000))  # whose sums decide nothing
    shape = (mean / spread) ** 2

    assert wide.p(ranked_with_gap(0.25)) == pytest.approx(
        2 * stats.gamma.sf(0.25, shape, scale=spread**2 / mean), rel=1e-6
    )


def test_a_p_is_at_most_1_and_that_of_a_saturated_net_is_all_or_nothing():
    sure = NullDraws(np.zeros(1000), np.zeros(1000))

    assert normal_draws(0.01).p(ranked_with_gap(0.0)) == 1
    assert sure.p(ranked_with_gap(0.0)) == 1
    assert sure.p(ranked_with_gap(0.01)) == 0


def test_the_interval_of_a_bin_is_wilsons():
    rng = np.random.default_rng(1)
    confidence = np.sort(rng.uniform(0.2, 1, 200))
    shown = reliability(level(confidence, (rng.random(200) < confidence).astype(float)))
    right = np.round(shown.accuracy * shown.n)
    low, high = proportion_confint(right, shown.n, 0.05, "wilson")

    np.testing.assert_allclose(shown.low, low, atol=1e-12)
    np.testing.assert_allclose(shown.high, high, atol=1e-12)


def test_balanced_accuracy_has_an_error_from_two_images_a_class_on():
    target = np.array([0, 0, 1, 1])

    assert balanced_top1_error(np.array([1.0, 0.0, 1.0, 0.0]), target) == pytest.approx(
        math.sqrt(2 * 0.5 / 2) / 2
    )
    assert balanced_top1_error(np.ones(3), np.array([0, 0, 1])) is None
