"""The score that a loss would reach with fewer trials: the best of k of those that it had."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np

from xent_bench.arrays import Values
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.row import Row
from xent_bench.comparison.stats import best_of
from xent_bench.comparison.trials import Trial, seed_of, shared_seeds
from xent_bench.comparison.tuning import mean_cost

REPORTED = "test/top1"
ORDERS = 2000  # in which trials might have come
BAND = (10.0, 90.0)  # percentiles over these orders


class BestOfK(NamedTuple):
    """Top-1 on test, in per cent, of the best of 1, 2, ... of a loss's trials, chosen by val."""

    expected: list[float]  # mean over all choices of k trials, exact
    low: list[float]  # percentile over random choices of k trials
    high: list[float]


def best_of_k(comparison: Comparison, row: Row) -> BestOfK | None:
    """Find what the loss would have reached with k of its trials.

    For each seed the other seeds choose, because a run that is lucky on val is lucky on test. None
    for fewer than two trials, for fewer than two seeds, and if trials were paused: those that were
    trained to the end are no random choice among all.
    """
    trials, choose_by = row.choice.candidates, comparison.options.choose_by
    paused = any(trial.is_paused for trial in comparison.trials if trial.loss == row.label)
    if len(trials) < 2 or paused:
        return None
    seeds = sorted(shared_seeds(trials))
    if len(seeds) < 2:
        return None
    costs_by_seed = {
        seed: [mean_cost(trial, {*seeds} - {seed}, choose_by) for trial in trials] for seed in seeds
    }
    scores = {seed: [100 * _score(trial, seed) for trial in trials] for seed in seeds}
    expected = [
        fmean(best_of(k, costs_by_seed[seed], scores[seed]) for seed in seeds)
        for k in range(1, len(trials) + 1)
    ]
    low, high = np.percentile(_reached(costs_by_seed, scores), BAND, axis=0)
    return BestOfK(expected, low.tolist(), high.tolist())


def _reached(
    costs_by_seed: Mapping[int, Sequence[float]], scores: Mapping[int, Sequence[float]]
) -> Values:
    """Mean over seeds of the best of the first k trials: (ORDERS, trials), for random orders."""
    n = len(next(iter(scores.values())))
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(n), (ORDERS, 1)), axis=1)
    by_seed = []
    for seed, costs in costs_by_seed.items():
        places = np.empty(n, dtype=int)
        places[np.argsort(costs, kind="stable")] = np.arange(n)  # rank of each trial, 0: the best
        best = np.minimum.accumulate(places[orders], axis=1)  # rank of the best of the first k
        by_rank = np.array(scores[seed])[np.argsort(costs, kind="stable")]
        by_seed.append(by_rank[best])
    return np.asarray(np.mean(by_seed, axis=0))


def _score(trial: Trial, seed: int) -> float:
    """Top-1 on test of the trial's run with this seed."""
    return next(run.metrics[REPORTED] for run in trial.runs if seed_of(run) == seed)
