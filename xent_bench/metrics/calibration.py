"""Calibration: is an answer given with confidence 0.8 right 80 times in 100?

Of soft labels q, accuracy is the mean q of the answer.
"""

import math
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int64

from xent_bench.arrays import Values
from xent_bench.metrics.ranked import Ranked

BINS = 15  # of every binned metric
Bounds: TypeAlias = Int64[np.ndarray, " bounds"]  # of bins, in the order of confidence


def equal_width(confidence: Values, bins: int = BINS) -> Bounds:
    """Where bins of equal width end, right-closed, so that 1.0 falls into the last one."""
    inner = np.searchsorted(confidence, np.linspace(0, 1, bins + 1)[1:-1], side="right")
    return np.concatenate([[0], inner, [len(confidence)]])


def equal_mass(n: int, bins: int = BINS) -> Bounds:
    """Where bins end of as many examples each, of one more the first n mod bins of them."""
    return np.arange(bins + 1) * (n // bins) + np.minimum(np.arange(bins + 1), n % bins)


def ece(ranked: Ranked, *, bins: int = BINS) -> float:
    """Top-label expected calibration error: sum_b (n_b / n) |accuracy_b - confidence_b|; in [0, 1].

    Bins of equal width. Naeini et al., 2015; Guo et al., 2017, arXiv:1706.04599. torchmetrics'
    bins are left-closed, with a further one for confidence 1.0.
    """
    return _absolute(ranked.gap, equal_width(ranked.certainty, bins))


def mce(ranked: Ranked, *, bins: int = BINS) -> float:
    """max_b |accuracy_b - confidence_b| over bins that are not empty; in [0, 1].  Naeini, 2015.

    A bin of a few examples may decide it: read it beside the reliability diagram.
    """
    bounds = equal_width(ranked.certainty, bins)
    means = np.abs(_sums(ranked.gap, bounds)) / np.maximum(np.diff(bounds), 1)
    return float(means.max())


def ece_equal_mass(ranked: Ranked, *, bins: int = BINS) -> float:
    """As ece, with as many examples in each bin.  Nixon et al., 2019, arXiv:1904.01685."""
    return _absolute(ranked.gap, equal_mass(len(ranked.gap), bins))


def ece_debiased(ranked: Ranked, *, bins: int = BINS) -> float | None:
    """L2 error, equal mass, without what noise adds: the root of `squared_error`, or 0 where that
    is negative. Kumar et al., 2019, arXiv:1909.10155. None if a bin would hold fewer than two
    examples.
    """
    square = squared_error(ranked, bins=bins)
    return None if square is None else math.sqrt(max(0.0, square))


def squared_error(ranked: Ranked, *, bins: int = BINS) -> float | None:
    """sum_b (n_b / n) ((accuracy_b - confidence_b)^2 - v_b / (m_b - 1)), equal mass.

    Unbiased, so it may be negative. v_b is the variance of one example: accuracy_b (1 - accuracy_b)
    of labels that were drawn, and of soft labels the variance of confidence - q within the bin. m_b
    is how many independent examples the mean of the bin averages (see `_independent`): n_b where
    no group of equally certain examples lies across an edge.
    """
    n = len(ranked.gap)
    if n < 2 * bins:
        return None
    bounds = equal_mass(n, bins)
    counts = np.diff(bounds)
    accuracy, gap = (_sums(values, bounds) / counts for values in (ranked.correct, ranked.gap))
    if ranked.soft:
        variance = np.maximum(_sums(_squared_gap(ranked), bounds) / counts - gap**2, 0)
    else:
        variance = accuracy * (1 - accuracy)
    squares = gap**2 - variance / (_independent(ranked, bounds) - 1)
    return float(counts @ squares) / n


def _squared_gap(ranked: Ranked) -> Values:
    """(confidence - outcome)^2; equally certain examples share its mean."""
    sizes = np.diff(ranked.first, append=len(ranked.gap))
    squares = (ranked.certainty - ranked.outcome) ** 2
    return np.repeat(np.add.reduceat(squares, ranked.first) / sizes, sizes)


def _independent(ranked: Ranked, bounds: Bounds) -> Float[np.ndarray, " bins"]:
    """n_b^2 / sum_g (m_gb^2 / n_g): how many independent examples the mean of each bin averages.

    Of the n_g examples of group g, which share one mean, m_gb lie in bin b: the bin's mean holds
    the noise of all n_g, not of m_gb. Only the first and the last group of a bin can reach beyond.
    """
    low, high = bounds[:-1], bounds[1:]
    first, last = (np.searchsorted(ranked.first, at, side="right") - 1 for at in (low, high - 1))
    ends = np.append(ranked.first[1:], len(ranked.gap))
    shares = (high - low).astype(float)
    for group, counts_once in ((first, True), (last, first != last)):
        start, end = ranked.first[group], ends[group]
        inside = np.minimum(end, high) - np.maximum(start, low)
        shares += counts_once * (inside * inside / (end - start) - inside)
    independent: Float[np.ndarray, " bins"] = (high - low) ** 2 / shares
    return independent


def ks(ranked: Ranked) -> float:
    """max_k |sum over the k least confident of (confidence - correct)| / n; in [0, 1].

    The distance of Kolmogorov and Smirnov, without bins. Gupta et al., 2021, arXiv:2006.12800.
    """
    return float(np.abs(ranked.gap.cumsum()).max() / len(ranked.gap))


def _absolute(gap: Values, bounds: Bounds) -> float:
    return float(np.abs(_sums(gap, bounds)).sum() / len(gap))


def _sums(values: Values, bounds: Bounds) -> Float[np.ndarray, " bins"]:
    return np.array([values[low:high].sum() for low, high in pairwise(bounds)])
