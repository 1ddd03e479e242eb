"""Equal confidences: the debiased error and the order of answers where many tie."""

from itertools import pairwise

import numpy as np
import pytest

from xent_bench.metrics.calibration import ece_debiased, ece_equal_mass, squared_error
from xent_bench.metrics.ranked import rank
from xent_bench.metrics.ranking import aurc, eaurc


def saturated(rng: np.random.Generator, n: int = 359) -> tuple[np.ndarray, np.ndarray]:
    """Nine in ten at confidence 1.0, where 95 of 100 are right; the others calibrated."""
    certain = round(0.9 * n)
    confidence = np.append(np.ones(certain), rng.uniform(0.5, 0.9, n - certain))
    return confidence, (
        rng.random(n) < np.append(np.full(certain, 0.95), confidence[certain:])
    ) * 1.0


def test_the_debiased_error_of_a_saturated_net_is_unbiased_and_seldom_0():
    rng = np.random.default_rng(0)
    true = 0.9 * 0.05**2
    sets = [rank(*saturated(rng)) for _ in range(4000)]
    squares = np.array([squared_error(ranked) for ranked in sets])

    assert abs(squares.mean() - true) < 4 * squares.std() / len(squares) ** 0.5
    assert (squares <= 0).mean() < 0.02  # with the noise of single bins: 0.4
    assert np.median([ece_debiased(ranked) for ranked in sets]) == pytest.approx(0.047, abs=0.003)


def test_without_ties_across_an_edge_each_example_counts_as_one():
    rng = np.random.default_rng(0)
    confidence = np.repeat(np.linspace(0.4, 0.9, 15), 8)
    correct = (rng.random(120) < 0.6) * 1.0
    gap = (confidence - correct).reshape(15, 8).mean(axis=1)
    accuracy = correct.reshape(15, 8).mean(axis=1)

    expected = (gap**2 - accuracy * (1 - accuracy) / 7).mean()
    assert squared_error(rank(confidence, correct)) == pytest.approx(expected, rel=1e-12)


def test_the_noise_of_a_bin_is_that_of_the_means_it_averages():
    rng = np.random.default_rng(0)
    for n in (31, 40, 359):
        confidence = np.sort(rng.integers(1, 9, size=n) / 10)
        correct = (rng.random(n) < 0.7) * 1.0
        bounds = np.append(0, np.cumsum([len(b) for b in np.array_split(np.arange(n), 15)]))
        expected = 0.0
        for low, high in pairwise(bounds):
            values, m = np.unique(confidence[low:high], return_counts=True)
            accuracies = np.array([correct[confidence == value].mean() for value in values])
            sizes = np.array([(confidence == value).sum() for value in values])
            accuracy, independent = m @ accuracies / m.sum(), m.sum() ** 2 / (m**2 / sizes).sum()
            gap = accuracy - m @ values / m.sum()
            noise = accuracy * (1 - accuracy) / (independent - 1)
            expected += (high - low) / n * (gap**2 - noise)

        assert squared_error(rank(confidence, correct)) == pytest.approx(expected, rel=1e-9)


def test_the_best_order_parts_answers_that_tie():
    correct = np.repeat([1.0, 0.0], 50)
    tied, best = rank(np.ones(100), correct), rank(correct, correct)

    assert eaurc(best) == 0
    assert eaurc(tied) == pytest.approx(0.5 - aurc(best))
    assert eaurc(tied) > 0.3


def test_ties_over_edges_leave_the_plain_error_of_equal_mass_what_it_is():
    confidence, correct = np.full(100, 0.8), np.repeat([1.0, 0.0], [60, 40])

    assert ece_equal_mass(rank(confidence, correct)) == pytest.approx(0.2)
