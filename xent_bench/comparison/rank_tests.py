"""Tests over tasks, where one observation is one task: Friedman's and Wilcoxon's.

Demsar, 2006, "Statistical comparisons of classifiers over multiple data sets", says how they are
used. Both p values are those of permutations, since the usual approximations fail for few tasks:
with Iman and Davenport's F distribution, three equal losses would be called different on 19 % of
sets of three tasks, and five equal losses on 5.7 % of sets of five tasks.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from xent_bench.comparison.stats import LEVEL

DRAWN = 50_000  # permutations for the p of `friedman`: its error is 0.1 % where p is 5 %


class Friedman(NamedTuple):
    """Friedman's test that all losses are equally good, with Iman and Davenport's statistic."""

    f: float  # infinite if all tasks rank the losses alike
    degrees: tuple[int, int]  # of freedom of an F distribution that f has for many tasks
    p: float


def average_ranks(values: np.ndarray, better: int) -> np.ndarray:
    """Ranks within each row, 1 for the best; equal values share the average of their ranks.

    `values` has shape (tasks, losses), and `better` is the sign of an improvement, 1 or -1.
    """
    costs = -better * np.asarray(values, dtype=float)
    below = (costs[:, None, :] < costs[:, :, None]).sum(axis=2)
    equal = (costs[:, None, :] == costs[:, :, None]).sum(axis=2)
    return np.asarray(below + (equal + 1) / 2)


def friedman(ranks: np.ndarray) -> Friedman:
    """Test whether mean ranks differ by more than chance.  Friedman, 1937; Iman, Davenport, 1980.

    `ranks` has shape (tasks, losses), with at least two of each. F is (N - 1) chi2 / (N (k - 1) -
    chi2), with Friedman's chi2 corrected for ties. p is the share of random orders of the losses
    within each task for which F is as large or larger.
    """
    tasks, losses = ranks.shape
    spread = float(((ranks - (losses + 1) / 2) ** 2).sum())
    degrees = losses - 1, (losses - 1) * (tasks - 1)
    if spread == 0:  # every task ties all losses
        return Friedman(0.0, degrees, 1.0)
    between = float(((ranks.sum(axis=0) - tasks * (losses + 1) / 2) ** 2).sum())
    # chi2 = (k - 1) between / spread; it is largest, N (k - 1), where all tasks rank alike
    chi2 = (losses - 1) * between / spread
    remainder = tasks * (losses - 1) - chi2
    alike = remainder <= 1e-9 * chi2
    f = math.inf if alike else (tasks - 1) * chi2 / remainder
    chance = _between_by_chance(tuple(tuple(sorted(row)) for row in ranks.tolist()))
    as_large = len(chance) - int(np.searchsorted(chance, between * (1 - 1e-9)))
    return Friedman(f, degrees, (1 + as_large) / (1 + len(chance)))


@cache
def _between_by_chance(rows: tuple[tuple[float, ...], ...]) -> np.ndarray:
    """Sorted sums of squared deviations of rank sums, for random orders within each row.

    The random numbers are always the same, so a report can be repeated.
    """
    rng = np.random.default_rng(0)
    losses = len(rows[0])
    sums = np.zeros((DRAWN, losses))
    for row in rows:
        sums += np.array(row)[rng.random((DRAWN, losses)).argsort(axis=1)]
    deviations = sums - sums.mean(axis=1, keepdims=True)
    return np.asarray(np.sort((deviations**2).sum(axis=1)))


def signed_rank_p(differences: Sequence[float]) -> float | None:
    """Two-sided p of Wilcoxon's signed-rank test that differences are symmetric about 0.

    It is exact, also for ties: each sign is as likely as the other. Differences of 0 are ranked
    and then left out (Pratt, 1959). None if all are 0.
    """
    deltas = np.asarray(differences, dtype=float)
    doubled = (2 * average_ranks(np.abs(deltas)[None, :], -1)[0]).astype(int)
    signed = doubled[deltas != 0]
    if not signed.size:
        return None
    positive = int(doubled[deltas > 0].sum())
    chance = np.ones(1)  # probability of each sum of the positive ranks, doubled
    for rank in signed:
        chance = (np.pad(chance, (0, rank)) + np.pad(chance, (rank, 0))) / 2
    tail = min(float(chance[: positive + 1].sum()), float(chance[positive:].sum()))
    return min(1.0, 2 * tail)


def smallest_p(tasks: int, tests: int) -> float:
    """Smallest corrected p that `signed_rank_p` can have: a loss is better on every task.

    `tests` is the number of tests that Holm's method corrects for.
    """
    return min(1.0, tests * 2.0 ** (1 - tasks))


def tasks_needed(tests: int) -> int:
    """Smallest number of tasks with which one of so many tests can be significant at all."""
    tasks = 2
    while smallest_p(tasks, tests) >= LEVEL:
        tasks += 1
    return tasks
