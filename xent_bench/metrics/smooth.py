"""Smooth calibration error.  Blasiok and Nakkiran, 2023, arXiv:2309.12236."""

import math
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.fft import dct, idct
from scipy.optimize import brentq

from xent_bench.metrics.ranked import EachRow, Ranked
from xent_bench.metrics.roots import roots

Cells: TypeAlias = Float[np.ndarray, "r cells"]  # a row for each ranking
Sigmas: TypeAlias = Float[np.ndarray, " r"]

CELLS = 1024  # that [0, 1] is cut into; a sigma below their width is not resolved
FREQUENCIES = np.pi * np.arange(CELLS)  # of the cosines
MOST = 2.0  # a sigma that is too large
XTOL = 1e-9  # of sigma
NONE = 1e-12  # sum of |gaps| below which there are none
NOTHING = 38.7  # exp(-x^2 / 2) is 0 in float64 from here on, and slow to be found to be 0


def smece(ranked: Ranked) -> EachRow:
    """The sigma at which smece_at(sigma) = sigma; in [0, 1].

    It needs no bins and has no jumps. smece_at never rises with sigma, so there is one such sigma.
    """
    gaps = _spread(ranked)
    cosines = dct(gaps)
    is_exact = np.abs(gaps).sum(axis=1) < NONE
    if ranked.certainty.ndim == 1:  # for one function alone SciPy is faster
        return 0.0 if is_exact[0] else _root(cosines)
    cosines, sigma = cosines[~is_exact], np.zeros(len(gaps))
    low, high = np.zeros(len(cosines)), np.full(len(cosines), MOST)
    sigma[~is_exact] = roots(lambda row, at: _smoothed(cosines[row], at) - at, low, high, XTOL)
    return sigma


def _root(cosines: Cells) -> float:
    def excess(sigma: float) -> float:
        return float(_smoothed(cosines, np.array([sigma]))[0]) - sigma

    return float(brentq(excess, 0.0, MOST, xtol=XTOL))


def smece_at(ranked: Ranked, sigma: float) -> float:
    """The integral over t in [0, 1] of |(1/n) sum_i (confidence_i - correct_i) K(t, confidence_i)|.

    K is the Gaussian of width sigma, reflected at 0 and at 1.
    """
    return float(_smoothed(dct(_spread(ranked)), np.array([sigma]))[0])


def _spread(ranked: Ranked) -> Cells:
    """Sum of the gaps in each cell, over n; a gap is shared between the two nearest cells."""
    n = ranked.n
    certainty, gap = ranked.certainty.reshape(-1, n), ranked.gap.reshape(-1, n)
    place = np.clip(certainty * CELLS - 0.5, 0, CELLS - 1)
    cell = np.minimum(place.astype(np.int64), CELLS - 2)
    share = place - cell
    r = len(cell)
    cell += CELLS * np.arange(r)[:, None]
    left = np.bincount(cell.ravel(), ((1 - share) * gap).ravel(), r * CELLS)
    right = np.bincount(cell.ravel() + 1, (share * gap).ravel(), r * CELLS)
    return ((left + right) / n).reshape(r, CELLS)


def _smoothed(cosines: Cells, sigma: Sigmas) -> Sigmas:
    """Sum of |gaps| after Gaussian smoothing, reflected at 0 and 1; `cosines` is their transform.

    Smoothing multiplies the k-th cosine by exp(-(pi k sigma)^2 / 2).
    """
    narrowest = FREQUENCIES[1] * sigma.min()
    kept = CELLS if narrowest * CELLS <= NOTHING else math.ceil(NOTHING / narrowest)
    damped = np.zeros(cosines.shape)
    exponents = FREQUENCIES[:kept] * sigma[:, None]
    np.multiply(cosines[:, :kept], np.exp(-0.5 * exponents**2), out=damped[:, :kept])
    sums: Sigmas = np.abs(idct(damped, overwrite_x=True)).sum(axis=1)
    return sums
