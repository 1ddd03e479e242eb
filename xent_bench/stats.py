"""Statistics over seeds: the unit is one trained run."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from scipy.special import stdtrit


class Estimate(NamedTuple):
    """A mean over runs with the half-width of its interval; None for a single run."""

    mean: float
    half_width: float | None
    n: int


def estimate(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """Mean and Student's t interval: mean +- t_{n-1} s / sqrt(n).  Student, 1908.

    No interval where there is none: for one run, or where a value is infinite.
    """
    n, mean = len(values), fmean(values)
    if n == 1 or not math.isfinite(mean):
        return Estimate(mean, None, n)
    t = float(stdtrit(n - 1, (1 + confidence) / 2))
    return Estimate(mean, t * stdev(values) / math.sqrt(n), n)
