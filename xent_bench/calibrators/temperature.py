"""Temperature scaling.  Guo et al., 2017, arXiv:1706.04599."""

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, log_softmax

from xent_bench.arrays import (
    LogProbabilities,
    Outputs,
    Target,
    Values,
    is_soft,
    normalised,
    row_blocks,
)
from xent_bench.links import Link, softmax
from xent_bench.runs.predictions import Predicted, required

LEAST, MOST = 1e-3, 1e4  # bounds of the sharpness 1/T, times the spread of what T divides
UNKNOWN = 0.5  # relative standard error above which calib does not determine T


class Temperature(NamedTuple):
    """A fitted temperature and its relative standard error, which is None if calib left T open."""

    value: float
    error: float | None

    @property
    def at_bound(self) -> bool:
        """Whether calib left T open: no T was best, or it is too uncertain."""
        return self.error is None


def fit(calib: Predicted, link: Link) -> Link:
    """Fit the temperature, and return the map `scale` with it."""
    return partial(scale, link=link, temperature=fit_temperature(calib, link).value)


def scale(outputs: Outputs, *, link: Link, temperature: float) -> LogProbabilities:
    """log softmax(u / T), with u the `dividend`; keeps the order of the classes, so top-1."""
    scaled: LogProbabilities = log_softmax(dividend(outputs, link) / temperature, axis=1)
    return scaled


def dividend(outputs: Outputs, link: Link) -> Outputs:
    """The array u that T divides: the outputs z, or log p, with which T = 1 is the link itself.

    u is log p if the link keeps the order of the classes in z, as normalised_softmax does. It is z
    if the link is softmax, if it has no probabilities (margin), or if different outputs may have
    equal probabilities (simplex, sigmoid), which no T could tell apart.
    """
    if scales_outputs(link, outputs.shape[1]):
        return outputs
    log_p = link(outputs)
    assert log_p is not None
    return log_p


def scales_outputs(link: Link, classes: int) -> bool:
    """Whether T divides z and not log p: tried at outputs far apart, where links saturate."""
    if getattr(link, "func", link) is softmax:
        return True
    log_p = link(1000.0 * np.arange(classes)[None])
    return log_p is None or not bool(np.isfinite(log_p).all() and (np.diff(log_p) > 0).all())


def fit_temperature(calib: Predicted, link: Link) -> Temperature:
    """Find the T at which the mean NLL of `scale` on calib is least. ValueError on another split.

    The NLL is -sum_k q_k log softmax(u / T)_k, with q the label, one-hot if it is hard. It is
    convex in the sharpness 1/T, so its slope has one zero, which Brent's method finds in float64.
    Two kinds of outputs leave T open (`at_bound`). If no answer on calib is wrong, or wrong only by
    a hair, the NLL falls for ever with sharpness, or nearly so (the relative standard error, from
    the curvature, is above UNKNOWN). T is then the best one after adding one example that is wrong
    by a typical margin, as in Laplace's rule of succession. If answers are no better than chance,
    T is at its upper bound, and p is nearly uniform.
    """
    calib = required("calib", calib)
    u = _centred(dividend(calib.outputs.astype(np.float64), link), calib.target)
    is_drawn = not is_soft(calib.target) or bool((calib.target.max(axis=1) == 1).all())
    spread = _median(np.sqrt(np.square(u).mean(axis=1)))
    if spread == 0:
        return Temperature(1.0, None)  # equal outputs: every T gives the same p
    low, high = math.log(LEAST / spread), math.log(MOST / spread)
    if _slope(low, u) < 0 < _slope(high, u):
        best = brentq(_slope, low, high, (u,), xtol=1e-12)
        error = _relative_error(best, u, is_drawn=is_drawn)
        if error <= UNKNOWN:
            return Temperature(math.exp(-best), error)
    margin = typical_margin(u)
    if _slope(low, u, margin) >= 0:
        return Temperature(math.exp(-low), None)
    return Temperature(math.exp(-brentq(_slope, low, high, (u, margin), xtol=1e-12)), None)


def _centred(u: Outputs, target: Target) -> Outputs:
    """Shift each row so that its mean weighted by the label, u_y or sum_k q_k u_k, is 0.

    The NLL at sharpness s is then logsumexp(s u), and its slope sum_k p_k u_k.
    """
    if is_soft(target):
        centre = np.einsum("ij,ij->i", normalised(target), u)[:, None]
    else:
        centre = np.take_along_axis(u, target[:, None], axis=1)
    centred: Outputs = u - centre
    return centred


def typical_margin(u: Outputs) -> float:
    """Median lead of the true class over the mean of the others, over the rows where it leads.

    Rows of u are shifted so that the true class is at 0.
    """
    return _median(-u.sum(axis=1) / (u.shape[1] - 1))


def _median(values: Values) -> float:
    """Median of the values above 0, or 0: one huge output must not set the scale."""
    positive = values[values > 0]
    return float(np.median(positive)) if len(positive) else 0.0


def _slope(log_sharpness: float, u: Outputs, margin: float = 0.0) -> float:
    """Slope of the NLL in the sharpness; a `margin` above 0 adds an example that is wrong by it."""
    sharpness = math.exp(log_sharpness)
    slope = sum(
        float(np.einsum("ij,ij->", p, rows)) for rows, p in probability_blocks(u, sharpness)
    )
    return slope + margin * float(expit(sharpness * margin))


def _relative_error(log_sharpness: float, u: Outputs, *, is_drawn: bool) -> float:
    """Standard error of the log of the sharpness.

    For hard labels, which are drawn from p, it is 1 / sqrt(curvature of the NLL). Soft labels
    spread less around p, so theirs is the sandwich sqrt(sum_i score_i^2) / curvature, where score_i
    is the slope of example i (Huber, 1967).
    """
    sharpness = math.exp(log_sharpness)
    mean, variance = moments(u, sharpness)
    curvature = variance * sharpness**2
    if curvature <= 0:
        return math.inf
    if is_drawn:
        return 1 / math.sqrt(curvature)
    return float(np.linalg.norm(sharpness * mean)) / curvature


def moments(u: Outputs, sharpness: float) -> tuple[Values, float]:
    """The mean of each row of u under softmax(sharpness u), and the sum of their variances."""
    means, variance = [], 0.0
    memory = np.empty(row_blocks(u)[0].shape)
    for rows, p in probability_blocks(u, sharpness):
        mean = np.einsum("ij,ij->i", p, rows)
        squares = np.subtract(rows, mean[:, None], out=memory[: len(rows)])
        np.square(squares, out=squares)
        variance += float(np.einsum("ij,ij->", p, squares))
        means.append(mean)
    return np.concatenate(means), variance


def probability_blocks(u: Outputs, sharpness: float) -> Iterator[tuple[Outputs, Outputs]]:
    """Blocks of rows of u, each with p = softmax(sharpness u) in float64; the next overwrites p.

    Intermediate results of all rows at once take four times the memory of u, and to ask the system
    for memory again for each block takes longer than to compute p.
    """
    blocks = row_blocks(u)
    memory, powers = np.empty(blocks[0].shape), np.empty(blocks[0].shape)
    for rows in blocks:
        p = np.multiply(sharpness, rows, out=memory[: len(rows)], dtype=np.float64)
        p -= p.max(axis=1, keepdims=True)
        sums = np.exp(p, out=powers[: len(rows)]).sum(axis=1, keepdims=True)
        p -= np.log(sums)  # and not p = powers / sums: p has the bits of `scale`
        np.exp(p, out=p)
        yield rows, p
