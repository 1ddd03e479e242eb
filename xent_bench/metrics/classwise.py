"""Calibration of the probabilities of all classes, not only of the answered class."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from xent_bench.arrays import Labels, SoftLabels, Target, is_soft
from xent_bench.metrics.calibration import BINS


class ClassGaps(NamedTuple):
    """Sums of p_k - q_k over the examples whose p_k lies in a bin, for each class k and bin.

    q is the label, one-hot if it is hard; n is the number of examples.
    """

    sums: Float[np.ndarray, "c bins"]
    n: int

    @classmethod
    def of(cls, p: Float[np.ndarray, "n c"], target: Target) -> "ClassGaps":
        """Sum the gaps p_k - q_k of these examples; bins are right-closed.

        A row has at most 14 probabilities above 1/15: only these are looked up, since the others
        all lie in the first bin.
        """
        return cls._soft(p, target) if is_soft(target) else cls._hard(p, target)

    @classmethod
    def _soft(cls, p: Float[np.ndarray, "n c"], q: SoftLabels) -> "ClassGaps":
        c = p.shape[1]
        edges = np.linspace(0, 1, BINS + 1)
        gap = p - q
        row, k = np.nonzero(p > edges[1])
        bin_of = np.searchsorted(edges[1:-1], p[row, k])
        sums = np.bincount(k * BINS + bin_of, gap[row, k], c * BINS).astype(np.float64)
        sums = sums.reshape(c, BINS)
        gap[row, k] = 0
        sums[:, 0] += gap.sum(axis=0)
        return cls(sums, len(q))

    @classmethod
    def _hard(cls, p: Float[np.ndarray, "n c"], target: Labels) -> "ClassGaps":
        c = p.shape[1]
        every = np.arange(len(target))
        edges = np.linspace(0, 1, BINS + 1)
        row, k = np.nonzero(p > edges[1])
        large = p[row, k]
        bin_of = np.searchsorted(edges[1:-1], large)
        sums = np.bincount(k * BINS + bin_of, large, c * BINS).astype(
            np.float64
        )  # no row gives int
        bin_of_true = np.searchsorted(edges[1:-1], p[every, target])
        sums -= np.bincount(target * BINS + bin_of_true, None, c * BINS)
        sums = sums.reshape(c, BINS)
        sums[:, 0] += np.where(p > edges[1], 0, p).sum(axis=0)
        return cls(sums, len(target))

    @classmethod
    def sum(cls, parts: Iterable["ClassGaps"]) -> "ClassGaps":
        """Add the sums of several blocks of examples, in the order given."""
        sums, n = zip(*parts, strict=True)
        return cls(np.sum(sums, axis=0), sum(n))


def ece_classwise(gaps: ClassGaps) -> float:
    """(1/c) sum_k sum_b |sum over the n_kb examples of p_k - q_k| / n; in [0, 2/c].

    The calibration error of each class against the rest, averaged over classes. Kull et al.,
    2019, arXiv:1910.12656. (Some authors sum over classes instead.)
    """
    return float(np.abs(gaps.sums).sum(axis=1).mean() / gaps.n)
