"""Temperature scaling.  Guo et al., 2017, arXiv:1706.04599."""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, log_softmax

from xent_bench.arrays import LogProbabilities, Outputs, Target, Values, is_soft, normalised
from xent_bench.links import Link, softmax
from xent_bench.runs.predictions import Predicted, required

LEAST, MOST = 1e-3, 1e4  # of the sharpness 1/T, times the spread of what T divides
UNKNOWN = 0.5  # a relative standard error above this: calib does not tell T


class Temperature(NamedTuple):
    """A fitted temperature with its relative standard error; None at a bound: no T was best."""

    value: float
    error: float | None

    @property
    def at_bound(self) -> bool:
        """Whether calib left T open."""
        return self.error is None


def fit(calib: Predicted, link: Link) -> Link:
    """`scale` with the fitted temperature."""
    return partial(scale, link=link, temperature=fit_temperature(calib, link).value)


def scale(outputs: Outputs, *, link: Link, temperature: float) -> LogProbabilities:
    """log softmax(u / T) with u the `dividend`. Keeps the order of the classes, so top-1."""
    scaled: LogProbabilities = log_softmax(dividend(outputs, link) / temperature, axis=1)
    return scaled


def dividend(outputs: Outputs, link: Link) -> Outputs:
    """What T divides: z, so that softmax is scaled; or log p, so that T = 1 is the link itself.

    log p if the link keeps all that z says of the order of the classes, as normalised_softmax. z if
    it is softmax, if it has no probabilities (margin), or if it has equal ones at different outputs
    (simplex, sigmoid), which no T could part.
    """
    if scales_outputs(link, outputs.shape[1]):
        return outputs
    log_p = link(outputs)
    assert log_p is not None
    return log_p


def scales_outputs(link: Link, classes: int) -> bool:
    """Whether T divides z: found out at outputs far apart, where links saturate."""
    if getattr(link, "func", link) is softmax:
        return True
    log_p = link(1000.0 * np.arange(classes)[None])
    return log_p is None or not bool(np.isfinite(log_p).all() and (np.diff(log_p) > 0).all())


def fit_temperature(calib: Predicted, link: Link) -> Temperature:
    """Find the T at which the mean NLL of `scale` on calib is least: -sum_k q_k log softmax(u/T)_k,
    with q the label, one-hot if it is hard. A ValueError on another split.

    The NLL is convex in the sharpness 1/T: its slope has one zero, which Brent's method brackets,
    in float64. Two kinds of outputs leave T open (`at_bound`). Where no answer on calib is wrong,
    or wrong only by a hair, sharper is better for ever, or nearly so (the relative standard error,
    from the curvature, is above a half): T is the best one after adding an example that is wrong by
    a typical margin, as Laplace's rule of succession has it. Where answers are no better than
    chance, T is as high as its bound, and p nearly uniform.
    """
    calib = required("calib", calib)
    u = _centred(dividend(calib.outputs.astype(np.float64), link), calib.target)
    is_drawn = not is_soft(calib.target) or bool((calib.target.max(axis=1) == 1).all())
    spread = _median(np.sqrt(np.square(u).mean(axis=1)))
    if spread == 0:
        return Temperature(1.0, None)  # equal outputs: every T gives the same
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
    """Shift each row so that its mean by the label, u_y or sum_k q_k u_k, is 0.

    The NLL of sharpness s is then logsumexp(s u), and its slope sum_k p_k u_k.
    """
    if is_soft(target):
        centre = np.einsum("ij,ij->i", normalised(target), u)[:, None]
    else:
        centre = np.take_along_axis(u, target[:, None], axis=1)
    centred: Outputs = u - centre
    return centred


def typical_margin(u: Outputs) -> float:
    """Median lead of the true class, at output 0, over the mean of the others, where it leads."""
    return _median(-u.sum(axis=1) / (u.shape[1] - 1))


def _median(values: Values) -> float:
    """Median of the values above 0: one huge output must not set the scale."""
    positive = values[values > 0]
    return float(np.median(positive)) if len(positive) else 0.0


def _slope(log_sharpness: float, u: Outputs, margin: float = 0.0) -> float:
    """Of the NLL by the sharpness; with an example more that is wrong by a margin, if any."""
    sharpness = math.exp(log_sharpness)
    p = np.exp(log_softmax(sharpness * u, axis=1))
    return float(np.einsum("ij,ij->", p, u)) + margin * float(expit(sharpness * margin))


def _relative_error(log_sharpness: float, u: Outputs, *, is_drawn: bool) -> float:
    """Standard error of the log of the sharpness.

    Of labels that are drawn, one over the root of the NLL's curvature. Soft labels spread less
    around p than labels drawn from it: the sandwich sqrt(sum_i score_i^2) / curvature, where
    score_i is the slope of example i. (Huber, 1967.)
    """
    sharpness = math.exp(log_sharpness)
    p = np.exp(log_softmax(sharpness * u, axis=1))
    mean = np.einsum("ij,ij->i", p, u)
    curvature = np.einsum("ij,ij->", p, np.square(u - mean[:, None])) * sharpness**2
    if curvature <= 0:
        return math.inf
    if is_drawn:
        return 1 / math.sqrt(curvature)
    return float(np.linalg.norm(sharpness * mean)) / float(curvature)
