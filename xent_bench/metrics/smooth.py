"""Smooth calibration error.  Blasiok and Nakkiran, 2023, arXiv:2309.12236."""

import numpy as np
from scipy.fft import dct, idct
from scipy.optimize import brentq

from xent_bench.arrays import Values
from xent_bench.metrics.ranked import Ranked

CELLS = 1024  # that [0, 1] is cut into; a sigma below their width is not resolved


def smece(ranked: Ranked) -> float:
    """The sigma at which smece_at(sigma) = sigma; in [0, 1].

    It needs no bins and has no jumps. smece_at never rises with sigma, so there is one such sigma.
    """
    gaps = _spread(ranked)
    if np.abs(gaps).sum() < 1e-12:
        return 0.0
    return float(brentq(lambda sigma: _smoothed(gaps, sigma) - sigma, 0.0, 2.0, xtol=1e-9))


def smece_at(ranked: Ranked, sigma: float) -> float:
    """The integral over t in [0, 1] of |(1/n) sum_i (confidence_i - correct_i) K(t, confidence_i)|.

    K is the Gaussian of width sigma, reflected at 0 and at 1.
    """
    return _smoothed(_spread(ranked), sigma)


def _spread(ranked: Ranked) -> Values:
    """Sum of the gaps in each cell, over n; a gap is shared between the two nearest cells."""
    place = np.clip(ranked.certainty * CELLS - 0.5, 0, CELLS - 1)
    cell = np.minimum(place.astype(np.int64), CELLS - 2)
    share = place - cell
    left = np.bincount(cell, (1 - share) * ranked.gap, CELLS)
    return (left + np.bincount(cell + 1, share * ranked.gap, CELLS)) / len(cell)


def _smoothed(gaps: Values, sigma: float) -> float:
    """Sum of |gaps| after Gaussian smoothing, reflected at 0 and 1.

    Smoothing multiplies the k-th cosine by exp(-(pi k sigma)^2 / 2).
    """
    k = np.arange(CELLS)
    damped = dct(gaps) * np.exp(-0.5 * (np.pi * k * sigma) ** 2)
    return float(np.abs(idct(damped)).sum())
