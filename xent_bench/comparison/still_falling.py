"""Was a run trained to the end, or did val still get better when it stopped?"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from scipy.special import stdtr

from xent_bench.comparison.stats import LEVEL
from xent_bench.metrics.reported import FALL, FREEDOM, NOISE, REACHED

LEAST = 1e-3  # of the value: a smaller fall is none, however surely it is there


def still_falling(runs: Sequence[Mapping[str, float]], tests: int = 1) -> float | None:
    """The mean fall of a loss's runs where it is more than their noise; None where it is not.

    `runs` are metrics with those of `last_tenth`. Student's t test of the falls over the runs, or
    for a single run of its fall against the noise within its curve, one-sided at LEVEL / tests: of
    `tests` losses that have stopped falling at most 5 in 100 comparisons name one.
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
    spread = stdev(falls)
    if spread == 0:
        return 1.0
    return float(stdtr(len(falls) - 1, -fmean(falls) / spread * math.sqrt(len(falls))))


def _p_within(run: Mapping[str, float]) -> float:
    """Two points differ by noise with twice its variance."""
    error = math.sqrt(2) * run.get(NOISE, 0.0)
    return float(stdtr(run[FREEDOM], -run[FALL] / error)) if error else 1.0
