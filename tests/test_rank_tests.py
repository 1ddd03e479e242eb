"""Tests over tasks agree with the literature, with other implementations and with enumeration."""

from itertools import permutations, product
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from xent_bench.comparison.rank_tests import (
    average_ranks,
    friedman,
    signed_rank_p,
    smallest_p,
    tasks_needed,
)
from xent_bench.comparison.signed_rank_posterior import influence_of_prior, posterior

# Demsar, 2006, table 6: AUC of four variants of C4.5 on fourteen data sets
DEMSAR = np.array(
    [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],  # 0.975 in the table; the ranks beside it tell them apart
        [0.957, 0.978, 0.946, 0.970],
    ]
)


def test_the_mean_ranks_of_a_published_table_are_as_published():
    means = average_ranks(DEMSAR, 1).mean(axis=0)

    assert means.round(3).tolist() == [3.143, 2.0, 2.893, 1.964]


def test_ranks_of_costs_are_those_of_scipy():
    values = np.random.default_rng(0).integers(0, 4, (20, 5)).astype(float)

    assert (average_ranks(values, -1) == stats.rankdata(values, axis=1)).all()
    assert (average_ranks(values, 1) == stats.rankdata(-values, axis=1)).all()


def test_the_statistic_is_scipys_chi_square_after_iman_and_davenport():
    tasks, losses = DEMSAR.shape
    chi2 = stats.friedmanchisquare(*DEMSAR.T).statistic
    test = friedman(average_ranks(DEMSAR, 1))

    assert test.f == pytest.approx((tasks - 1) * chi2 / (tasks * (losses - 1) - chi2))
    assert test.degrees == (3, 39)
    # of fourteen tasks, the F distribution is a fair approximation
    assert test.p == pytest.approx(stats.f.sf(test.f, *test.degrees), abs=0.01)


def test_the_p_of_few_tasks_is_that_of_all_orders():
    ranks = np.array([[1, 2, 3], [1, 3, 2], [1, 2, 3]], dtype=float)
    every = [np.sum(rows, axis=0) for rows in product(permutations((1, 2, 3)), repeat=3)]
    spread = [((sums - 6) ** 2).sum() for sums in np.array(every)]
    expected = fmean(value >= ((ranks.sum(axis=0) - 6) ** 2).sum() for value in spread)

    assert friedman(ranks).p == pytest.approx(expected, abs=0.01)


def test_losses_that_every_task_ties_do_not_differ():
    assert friedman(np.full((4, 3), 2.0)) == (0.0, (2, 6), 1.0)


def test_tasks_that_all_rank_alike_have_an_infinite_f_and_no_p_of_zero():
    test = friedman(np.array([[1.0, 2.0, 3.0]] * 2))

    assert test.f == np.inf
    assert test.p == pytest.approx(1 / 6, abs=0.012)  # of the 36 orders of two tasks, 6 are alike


@pytest.mark.parametrize("n", [1, 4, 9, 14])
def test_wilcoxons_p_without_ties_is_scipys_exact_one(n):
    deltas = np.random.default_rng(n).normal(0.4, 1, n)

    assert signed_rank_p(deltas) == pytest.approx(stats.wilcoxon(deltas, method="exact").pvalue)


def test_wilcoxons_p_with_ties_and_zeros_is_that_of_all_signs():
    deltas = np.array([0.2, -0.1, 0.1, 0.3, 0.0, 0.2, -0.3, 0.5])
    ranks = stats.rankdata(np.abs(deltas)) * (deltas != 0)
    every = [float(np.dot(signs, ranks)) for signs in product((0, 1), repeat=len(deltas))]
    seen = float(ranks[deltas > 0].sum())
    tail = min(fmean(s <= seen + 1e-9 for s in every), fmean(s >= seen - 1e-9 for s in every))

    assert signed_rank_p(deltas) == pytest.approx(min(1, 2 * tail))


def test_equal_losses_and_infinite_ones_can_be_tested():
    assert signed_rank_p([0.0, 0.0]) is None
    assert signed_rank_p([np.inf] * 6) == pytest.approx(2 / 2**6)


@pytest.mark.parametrize("tests", [1, 2, 4, 10])
def test_the_number_of_tasks_that_are_needed_is_the_first_that_can_be_significant(tests):
    needed = tasks_needed(tests)

    assert tests * signed_rank_p([1.0 + i for i in range(needed)]) < 0.05
    assert tests * signed_rank_p([1.0 + i for i in range(needed - 1)]) >= 0.05
    assert smallest_p(needed, tests) == pytest.approx(tests * 2 / 2**needed)


@pytest.mark.parametrize(
    ("improvements", "margin", "expected"),  # by baycomp 1.0.3, 50,000 draws, random_state=0
    [
        ([0.02, 0.005, -0.003, 0.03, 0.012, 0.0, 0.018, -0.02], 0.01, (0.3306, 0.66744, 0.00196)),
        ([0.5, 0.3, -0.1], 0.1, (0.74884, 0.25116, 0.0)),
    ],
)
def test_the_posterior_is_that_of_the_authors_package(improvements, margin, expected):
    assert posterior(improvements, margin) == pytest.approx(expected, abs=0.015)


def test_a_loss_and_the_baseline_change_places_in_the_posterior():
    improvements = [0.02, 0.005, -0.003, 0.03, 0.012, 0.0, 0.018]
    there, back = (posterior([sign * z for z in improvements], 0.01) for sign in (1, -1))

    assert there == pytest.approx((back.worse, back.equal, back.better), abs=1e-12)
    assert sum(there) == pytest.approx(1)


def test_the_prior_counts_less_with_more_tasks_and_infinite_improvements_are_taken():
    few, many = ([0.02, 0.001, -0.01] * repeats for repeats in (1, 10))

    assert influence_of_prior(few, 0.01) > 0.2 > 2 * influence_of_prior(many, 0.01)
    assert posterior([np.inf] * 8 + [-np.inf], 0.01).better > 0.9
