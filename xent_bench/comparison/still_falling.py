"""Test whether the loss on val still fell when training ended."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from scipy.special import stdtr

from xent_bench.comparison.stats import LEVEL
from xent_bench.metrics.reported import FALL, FREEDOM, NOISE, REACHED

LEAST = 1e-3  # of the value: a smaller fall is none, however surely it is there


def still_falling(runs: Sequence[Mapping[str, float]], tests: int = 1) -> float | None:
    """The mean fall of a loss's runs if it is significant; None if it is not.

    `runs` holds the metrics of each run, those of `last_tenth` among them. The test is Student's,
    one-sided at LEVEL / tests: of the falls over the runs, or for a single run of its fall against
    the noise within its curve. If none of `tests` losses still falls, at most 5 in 100 comparisons
    name one of them.
    """
    falls = [run[FALL] for run in runs if FALL in run]
    if not falls or len(falls) < len(runs):
        return None
    mean = fmean(falls)
    if mean < LEAST * abs(fmean(run[REACHED] for run in runs)):
        return None
    p = _p_over_runs(falls) if len(falls) > 1 else _p_within(runs[0])
    return mean if tests * p < LEVEL else None


def _p_over_runs(falls: Sequence[float]) -> float:
    """One-sided p of Student's t test of the falls: small if their mean is surely above 0."""
    spread = stdev(falls)
    if spread == 0:
        return 1.0
    return float(stdtr(len(falls) - 1, -fmean(falls) / spread * math.sqrt(len(falls))))


def _p_within(run: Mapping[str, float]) -> float:
    """One-sided p of a run's fall against the noise of its curve.

    The difference of two points has twice the variance of one point's noise.
    """
    error = math.sqrt(2) * run.get(NOISE, 0.0)
    return float(stdtr(run[FREEDOM], -run[FALL] / error)) if error else 1.0
