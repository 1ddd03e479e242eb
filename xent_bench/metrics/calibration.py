"""Calibration: is an answer given with confidence 0.8 right 80 times in 100?

With soft labels q, accuracy is the mean of q_k over the answers k.
"""

from functools import lru_cache, partial
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int64

from xent_bench.arrays import Values
from xent_bench.metrics.ranked import EachRow, Ranked, Rows, by_row

BINS = 15  # in every binned metric
PerBin: TypeAlias = Float[np.ndarray, "*rows bins"]
Bounds: TypeAlias = Int64[np.ndarray, " bounds"]  # places where bins begin and end, by confidence


def equal_width(confidence: Values, bins: int = BINS) -> Bounds:
    """Bounds of bins of equal width, right-closed, so that 1.0 falls into the last bin.

    `confidence` is sorted; the bounds are places in it.
    """
    inner = np.searchsorted(confidence, _edges(bins), side="right")
    return np.concatenate([[0], inner, [len(confidence)]])


@lru_cache
def _edges(bins: int) -> Values:
    """The inner edges of bins of equal width."""
    edges = np.linspace(0, 1, bins + 1)[1:-1]
    edges.flags.writeable = False  # the next caller gets the same array
    return edges


@lru_cache
def equal_mass(n: int, bins: int = BINS) -> Bounds:
    """Bounds of bins with equally many examples; the first n mod bins hold one more."""
    bounds = np.arange(bins + 1) * (n // bins) + np.minimum(np.arange(bins + 1), n % bins)
    bounds.flags.writeable = False  # the next caller gets the same array
    return bounds


def ece(ranked: Ranked, *, bins: int = BINS) -> EachRow:
    """Top-label expected calibration error: sum_b (n_b / n) |accuracy_b - confidence_b|; in [0, 1].

    Bins have equal width. Naeini et al., 2015; Guo et al., 2017, arXiv:1706.04599. The bins of
    torchmetrics are left-closed instead, with an extra bin for confidence 1.0.
    """
    return by_row(partial(_ece, bins=bins), ranked.certainty, ranked.gap)


def _ece(certainty: Values, gap: Values, *, bins: int) -> float:
    return float(np.abs(_sums(gap, equal_width(certainty, bins))).sum() / len(gap))


def mce(ranked: Ranked, *, bins: int = BINS) -> EachRow:
    """max_b |accuracy_b - confidence_b| over bins that are not empty; in [0, 1].  Naeini, 2015.

    A bin with few examples may decide the value: read it beside the reliability diagram.
    """
    return by_row(partial(_mce, bins=bins), ranked.certainty, ranked.gap)


def _mce(certainty: Values, gap: Values, *, bins: int) -> float:
    bounds = equal_width(certainty, bins)
    means = np.abs(_sums(gap, bounds)) / np.maximum(np.diff(bounds), 1)
    return float(means.max())


def ece_equal_mass(ranked: Ranked, *, bins: int = BINS) -> EachRow:
    """sum_b (n_b / n) |accuracy_b - confidence_b|, bins of equal mass; in [0, 1].

    Equal mass: every bin holds equally many examples. Nixon et al., 2019, arXiv:1904.01685.
    """
    sums = np.abs(_sums(ranked.gap, equal_mass(ranked.n, bins)))
    error: EachRow = sums.sum(axis=-1) / ranked.n
    return error


def ece_debiased(ranked: Ranked, *, bins: int = BINS) -> EachRow | None:
    """sqrt(max(0, squared_error)): L2 calibration error, equal mass, without the part due to noise.

    Kumar et al., 2019, arXiv:1909.10155. None if a bin would hold fewer than two examples.
    """
    square = squared_error(ranked, bins=bins)
    if square is None:
        return None
    root: EachRow = np.sqrt(np.maximum(0.0, square))
    return root


def squared_error(ranked: Ranked, *, bins: int = BINS) -> EachRow | None:
    """sum_b (n_b / n) ((accuracy_b - confidence_b)^2 - v_b / (m_b - 1)).

    Bins have equal mass. The estimate is unbiased, so it may be negative. v_b is the variance of
    one example: accuracy_b (1 - accuracy_b) for hard labels, the variance of confidence - q within
    the bin for soft labels. m_b is how many independent examples the bin's mean averages (see
    `_independent`): n_b unless a group of equally certain examples lies across an edge. None if a
    bin would hold fewer than two examples.
    """
    if ranked.n < 2 * bins:
        return None
    bounds = equal_mass(ranked.n, bins)
    counts = np.diff(bounds)
    accuracy, gap = (_sums(values, bounds) / counts for values in (ranked.correct, ranked.gap))
    if ranked.soft:
        variance = np.maximum(_sums(_squared_gap(ranked), bounds) / counts - gap**2, 0)
    else:
        variance = accuracy * (1 - accuracy)
    squares = gap**2 - variance / (_independent(ranked, bounds) - 1)
    return by_row(lambda row: float(counts @ row) / ranked.n, squares)


def _squared_gap(ranked: Ranked) -> Rows:
    """(confidence - outcome)^2 of each example, averaged over equally certain examples."""
    sizes = np.diff(ranked.first, append=ranked.gap.size)
    squares = (ranked.certainty - ranked.outcome) ** 2
    means = np.repeat(np.add.reduceat(squares.ravel(), ranked.first) / sizes, sizes)
    return means.reshape(squares.shape)


def _independent(ranked: Ranked, bounds: Bounds) -> PerBin:
    """n_b^2 / sum_g (m_gb^2 / n_g): how many independent examples the mean of each bin averages.

    m_gb of the n_g examples of group g, which share one mean, lie in bin b. The bin's mean holds
    the noise of all n_g, not of m_gb. Only the first and last group of a bin can reach beyond it.
    """
    rows = ranked.certainty.size // ranked.n
    starts = np.arange(rows)[:, None] * ranked.n  # places in the raveled arrays
    low, high = starts + bounds[:-1], starts + bounds[1:]
    first, last = (np.searchsorted(ranked.first, at, side="right") - 1 for at in (low, high - 1))
    ends = np.append(ranked.first[1:], ranked.certainty.size)
    shares = (high - low).astype(float)
    for group, counts_once in ((first, True), (last, first != last)):
        start, end = ranked.first[group], ends[group]
        inside = np.minimum(end, high) - np.maximum(start, low)
        shares += counts_once * (inside * inside / (end - start) - inside)
    independent = (high - low) ** 2 / shares
    by_bin: PerBin = independent.reshape(*ranked.certainty.shape[:-1], len(bounds) - 1)
    return by_bin


def ks(ranked: Ranked) -> EachRow:
    """max_k |sum over the k least confident of (confidence - correct)| / n; in [0, 1].

    The Kolmogorov-Smirnov distance, which needs no bins. Gupta et al., 2021, arXiv:2006.12800.
    """
    distance: EachRow = np.abs(ranked.gap.cumsum(axis=-1)).max(axis=-1) / ranked.n
    return distance


def _sums(values: Rows, bounds: Bounds) -> PerBin:
    """Sum of the values in each bin, with the same bounds in each ranking."""
    sums = np.zeros((*values.shape[:-1], len(bounds) - 1))
    for place, (low, high) in enumerate(pairwise(bounds.tolist())):
        if low < high:
            np.add.reduce(values[..., low:high], axis=-1, out=sums[..., place])
    return sums
