"""Bayesian estimate over tasks of whether a loss is better than another, with room for ties.

The Bayesian signed-rank test of Benavoli et al., 2017, "Time for a change: a tutorial for comparing
multiple classifiers through Bayesian analysis", JMLR 18(77), section 4.2.1. The package baycomp, by
its authors, computes the same numbers, from 50,000 draws in a loop of Python and with scipy.stats
and Matplotlib imported; tests hold this module to its numbers.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

STRENGTH = 0.5  # weight of the prior's pseudo-task beside a task's weight of 1, as in the paper
DRAWN = 20_000  # draws from the posterior: the error of a probability is 0.4 % at most
LARGEST = 1e100  # an infinite difference counts as this one


class Posterior(NamedTuple):
    """Probabilities that a loss is practically better, equal or worse; their sum is 1."""

    better: float
    equal: float
    worse: float


def posterior(improvements: Sequence[float], margin: float, *, prior: float = 0.0) -> Posterior:
    """Probabilities that a loss is better by more than `margin`, equal within it, or worse.

    `improvements` holds for each task how much better the loss is than the baseline, negative if
    it is worse. Improvements have a Dirichlet process as their prior: a pseudo-task of weight
    STRENGTH with the improvement `prior`. A draw gives weights w to the tasks and is for "better"
    if the sum of w_i w_j over pairs (i, j) with z_i + z_j > 2 margin is larger than the sums of
    the other two outcomes; a pair at the border counts half for each side.
    """
    z = np.clip([prior, *improvements], -LARGEST, LARGEST)
    weights = _weights(len(improvements))
    sums = z[:, None] + z[None, :]
    better = _weight(weights, _above(sums, 2 * margin))
    worse = _weight(weights, _above(-sums, 2 * margin))
    largest = np.argmax([worse, 1 - better - worse, better], axis=0)
    shares = np.bincount(largest, minlength=3) / DRAWN
    return Posterior(float(shares[2]), float(shares[1]), float(shares[0]))


def influence_of_prior(improvements: Sequence[float], margin: float) -> float:
    """Largest change of a probability if the pseudo-task is put to the other outcomes.

    It lies among the ties by default; here it is the best, and then the worst, of all tasks.
    """
    default = posterior(improvements, margin)
    moved = [posterior(improvements, margin, prior=side) for side in (-LARGEST, LARGEST)]
    return max(abs(a - b) for other in moved for a, b in zip(default, other, strict=True))


@cache
def _weights(tasks: int) -> np.ndarray:
    """Weights of the pseudo-task and of the tasks, drawn from the posterior: (DRAWN, 1 + tasks).

    The random numbers are always the same, so a report can be repeated.
    """
    return np.random.default_rng(0).dirichlet([STRENGTH, *[1.0] * tasks], DRAWN)


def _above(sums: np.ndarray, threshold: float) -> np.ndarray:
    return np.where(sums == threshold, 0.5, sums > threshold)


def _weight(weights: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Sum of w_i w_j `outcomes`_ij over all pairs, for each draw of weights (draws, tasks)."""
    return np.asarray(((weights @ outcomes) * weights).sum(axis=1))
