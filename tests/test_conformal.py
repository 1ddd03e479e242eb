"""Sets of classes and abstention: what is said of new images holds at the rate that is said."""

import re

import numpy as np
import pytest
from scipy.stats import betabinom, binom

from xent_bench.calibrators.temperature import dividend
from xent_bench.config.identity import run_folder
from xent_bench.prediction.abstention import abstention, abstention_lines
from xent_bench.prediction.conformal import conformal_lines, fit_conformal
from xent_bench.prediction.drawn_labels import draw_lines, one_class_each
from xent_bench.prediction.rows import Row, Wanted, cells, columns
from xent_bench.runs.predictions import load
from xent_bench.training.run import run

SPLITS = 200
SMALL_NET = ("model=mlp", "model.width=16", "epochs=2")


def test_coverage_over_200_splits_is_beta_binomial(config):
    """Of a trained net's images any 240 may be calib: the others are covered in number as stated.

    The share covered has its exact mean, and lies in its exact band of 95 % in about 95 % of the
    splits, by the test that rejects falsely once in a thousand.
    """
    wanted = config(base=("data=synthetic", "data.n=2000", "data.noise=4", *SMALL_NET))
    run(wanted)
    stored = load(run_folder(wanted) / "predictions.npz")
    u = np.concatenate(
        [dividend(part.outputs.astype(float), stored.link) for part in (stored.calib, stored.test)]
    )
    labels = np.concatenate([stored.calib.target, stored.test.target])
    n, m, rng = len(stored.calib.target), len(stored.test.target), np.random.default_rng(0)
    covered = []
    for _ in range(SPLITS):
        order = rng.permutation(n + m)
        fitted = fit_conformal(u[order[:n]], labels[order[:n]], 0.9)
        assert not fitted.is_answers_alone  # else more would be covered
        inside = fitted.sets(u[order[n:]])
        covered.append(inside[np.arange(m), labels[order[n:]]].sum())
    exact = betabinom(m, fitted.rank, n + 1 - fitted.rank)
    low, high = exact.ppf([0.025, 0.975])
    share = exact.cdf(high) - exact.cdf(low - 1)
    hits = sum(low <= k <= high for k in covered)

    assert n == 240
    assert np.mean(covered) == pytest.approx(exact.mean(), abs=3.3 * exact.std() / SPLITS**0.5)
    assert binom.ppf(0.0005, SPLITS, share) <= hits <= binom.ppf(0.9995, SPLITS, share)


def test_the_threshold_is_the_gap_of_the_stated_rank():
    """Ten images with gaps 0 to 9; ceil(11 * 0.8) is 9, and the ninth smallest gap is 8."""
    u = np.zeros((10, 3))
    u[:, 1] = np.arange(10)
    fitted = fit_conformal(u, np.zeros(10, np.int64), 0.8)

    assert (fitted.rank, fitted.threshold) == (9, 8.0)
    assert fitted.sets(np.array([[0.0, 8.0, -0.1], [0.0, 8.1, 8.0]])).tolist() == [
        [True, True, False],
        [False, True, True],
    ]


def test_the_rank_is_exact_where_floats_are_not():
    """0.07 * 100 is 7.000000000000001 in floats, whose ceiling would be 8."""
    labels = np.zeros(99, np.int64)

    assert fit_conformal(np.eye(2)[labels], labels, 0.07).rank == 7


def test_a_temperature_changes_no_set():
    rng = np.random.default_rng(0)
    u, labels = rng.standard_normal((300, 5)), rng.integers(5, size=300)
    as_trained = fit_conformal(u[:200], labels[:200], 0.9).sets(u[200:])
    scaled = fit_conformal(u[:200] / 4, labels[:200], 0.9).sets(u[200:] / 4)

    np.testing.assert_array_equal(as_trained, scaled)


def test_the_interval_is_that_of_the_coverage_of_many_calibs():
    rng = np.random.default_rng(1)
    coverages = []
    for _ in range(2000):
        gaps = np.sort(rng.random(50))
        coverages.append(gaps[46 - 1])  # ceil(51 * 0.9) = 46; of uniform gaps, P(gap <= t) = t
    u = np.stack([np.zeros(50), rng.random(50)], axis=1)
    low, high = fit_conformal(u, np.zeros(50, np.int64), 0.9).interval()

    np.testing.assert_allclose(np.quantile(coverages, [0.025, 0.975]), [low, high], atol=0.01)


def test_sets_are_never_empty_and_say_where_they_are_the_answers():
    u = np.eye(4)[np.arange(100) % 4]
    fitted = fit_conformal(u, np.arange(100) % 4, 0.9)

    assert fitted.sets(u).sum(axis=1).tolist() == [1] * 100
    assert fitted.is_answers_alone
    assert "right on 100 of 100 images of calib" in conformal_lines(fitted)[1]


def test_the_fewest_images_for_a_coverage_are_just_enough():
    few, enough = (
        fit_conformal(np.eye(2)[np.zeros(n, int)], np.zeros(n, np.int64), 0.95) for n in (18, 19)
    )

    assert few.is_too_small
    assert not enough.is_too_small
    assert few.sets(np.array([[9.0, -9.0]])).all()
    assert "and 19 are the fewest" in conformal_lines(few)[0]


def test_a_class_with_a_bar_in_its_name_is_one_class_of_a_set():
    fitted = fit_conformal(np.eye(3)[[0, 1, 2] * 20], np.array([0, 1, 2] * 20), 0.9)
    names = ["cat|dog", "back\\", "plain"]
    row = Row("a.png", names[:1], [0.9], set=names)
    wanted = Wanted(top=1, conformal=fitted)
    column = dict(zip(columns(wanted), cells(row, wanted), strict=True))["set"]
    parts = re.findall(r"(?:[^|\\]|\\.)+", column)

    assert [re.sub(r"\\(.)", r"\1", part) for part in parts] == names


def test_soft_labels_give_each_class_as_often_as_they_say():
    rows = np.tile([0.7, 0.0, 0.3], (3000, 1)).astype(np.float32)
    drawn = one_class_each(rows)

    assert np.bincount(drawn, minlength=3)[1] == 0
    assert np.mean(drawn == 0) == pytest.approx(0.7, abs=0.03)
    np.testing.assert_array_equal(drawn, one_class_each(rows))
    np.testing.assert_array_equal(one_class_each(np.eye(3)[[2, 0, 1]]), [2, 0, 1])
    assert draw_lines(rows)
    assert not draw_lines(np.eye(3))


def test_abstention_counts_the_answers_and_the_wrong_ones():
    """Clopper and Pearson's interval of 1 in 3 is 0.0084 to 0.9057 (tables of the binomial)."""
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.95, 0.05]])
    shown = abstention(np.log(p), np.array([0, 0, 1, 1]), 0.8, "calib")

    assert (shown.n, shown.answered, shown.wrong) == (4, 3, 1)
    assert shown.interval() == pytest.approx((0.0084, 0.9057), abs=1e-4)
    assert abstention_lines(shown)[0].startswith("At 0.8, 75.0% of calib (n = 4) are answered")


def test_a_confidence_that_nothing_reaches_has_no_risk():
    shown = abstention(np.log(np.full((5, 2), 0.5)), np.zeros(5, np.int64), 0.9, "calib")

    assert "nothing is known of errors" in abstention_lines(shown)[0]
