"""Temperature scaling.  Guo et al., 2017, arXiv:1706.04599."""

import math
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_softmax

from xent_bench.arrays import LogProbabilities, Outputs
from xent_bench.links import Link, softmax
from xent_bench.predictions import Predicted, required

LEAST, MOST = 1e-3, 1e4  # of the sharpness 1/T, times the spread of what T divides


class Temperature(NamedTuple):
    """A fitted temperature; at a bound there was no best one."""

    value: float
    at_bound: bool


def fit(calib: Predicted, link: Link) -> Link:
    """`scale` with the fitted temperature."""
    return partial(scale, link=link, temperature=fit_temperature(calib, link).value)


def scale(outputs: Outputs, *, link: Link, temperature: float) -> LogProbabilities:
    """log softmax(u / T) with u the `dividend`. Keeps the order of the classes, so top-1."""
    scaled: LogProbabilities = log_softmax(dividend(outputs, link) / temperature, axis=1)
    return scaled


def dividend(outputs: Outputs, link: Link) -> Outputs:
    """What T divides: z for softmax, log p as another link has it, so that T = 1 is that link.

    A link without probabilities (margin) or with zeros among them (simplex, projection), which no
    T could raise, is left for softmax: z.
    """
    if scales_outputs(link, outputs.shape[1]):
        return outputs
    log_p = link(outputs)
    assert log_p is not None
    return log_p


def scales_outputs(link: Link, classes: int) -> bool:
    """Whether T divides z, not log p: of softmax, and where some log p may be infinite."""
    if getattr(link, "func", link) is softmax:
        return True
    log_p = link(1000.0 * np.arange(classes)[None])
    return log_p is None or not bool(np.isfinite(log_p).all())


def fit_temperature(calib: Predicted, link: Link) -> Temperature:
    """The T at which the mean NLL of `scale` on calib is least. A ValueError on another split.

    The NLL is convex in the sharpness 1/T: its slope has one zero, which Brent's method brackets,
    in float64. Two kinds of outputs have no best T, and get one that says so (`at_bound`). Where
    every answer is right the NLL falls with T for ever: T is where it passes 1/(2(n + 1)), the
    estimate of a rate of which n examples showed none (Jeffreys, 1946). A best T, where there is
    one, leaves at least log 2 / n. Where answers are no better than chance, T is as high as its
    bound, and p nearly uniform.
    """
    n = len(required("calib", calib).target)
    u = dividend(calib.outputs.astype(np.float64), link)
    u = u - np.take_along_axis(u, calib.target[:, None], axis=1)  # the true class at 0
    spread = float(np.sqrt(np.square(u).mean()))
    if spread == 0:
        return Temperature(1.0, at_bound=True)  # equal outputs: every T gives the same
    low, high = math.log(LEAST / spread), math.log(MOST / spread)
    if _slope(low, u) >= 0:
        return Temperature(math.exp(-low), at_bound=True)
    if ((u >= 0).sum(axis=1) == 1).all():  # no other class as likely as the true one
        enough = 1 / (2 * (n + 1))
        if _nll(high, u) < enough:
            high = brentq(lambda s: _nll(s, u) - enough, low, high, xtol=1e-12)
        return Temperature(math.exp(-high), at_bound=True)
    if _slope(high, u) <= 0:
        return Temperature(math.exp(-high), at_bound=True)
    return Temperature(math.exp(-brentq(_slope, low, high, (u,), xtol=1e-12)), at_bound=False)


def _nll(log_sharpness: float, u: Outputs) -> float:
    return float(np.logaddexp.reduce(math.exp(log_sharpness) * u, axis=1).mean())


def _slope(log_sharpness: float, u: Outputs) -> float:
    """Of the mean NLL by the sharpness."""
    p = np.exp(log_softmax(math.exp(log_sharpness) * u, axis=1))
    return float(np.einsum("ij,ij->", p, u)) / len(u)
