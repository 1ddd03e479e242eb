"""Whether temperature scaling is calibrated as a recipe, that is with T fitted anew each time.

A fitted temperature misses the best one by chance. For one net with its temperature that is a real
error, and `test_ts_verdict` counts it as one. Whether scaling works is another question: the band
here is what a net shows that would be calibrated at its best T, once T is fitted on calib.
"""

import math
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.special import expit, log_softmax

from xent_bench.arrays import Outputs, Values
from xent_bench.calibrators.temperature import UNKNOWN, Temperature, typical_margin
from xent_bench.metrics.calibration import BINS
from xent_bench.metrics.uncertainty import BLOCK, DRAWS, SEED, Draws, NullDraws

Nodes: TypeAlias = Float[np.ndarray, " nodes"]

# how far log sharpness may lie from the fitted one: at most, and in standard errors
REACH, ERRORS = 3.0, 8.0
NODES = 41  # values of log sharpness, between which functions of it are taken as linear
GROUPS = 40  # of draws; those of a group share a temperature
# outputs on calib up to which labels are drawn one by one; above, their sum is drawn as normal
FEW = 2**17


class Slope(NamedTuple):
    """The slope of the NLL on calib in the sharpness s = 1/T, at nodes of log s.

    The slope is `expected` minus the sum of the outputs of the true classes, so a fit to other
    labels is a look-up: the s at which `expected` equals that sum.
    """

    log_sharpness: Nodes
    expected: Nodes  # sum over images of the mean output under softmax(s u)
    error: Nodes  # relative standard error of a temperature, if the fit ends at this node
    with_doubt: Nodes  # `expected` with one more example, wrong by a typical margin


def recipe_draws(
    calib: Outputs, test: Outputs, fitted: Temperature, *, soft: bool = False
) -> NullDraws:
    """Draw what a net that is calibrated at the fitted T shows on test when T is fitted anew.

    This is a parametric bootstrap. Labels of calib are drawn from softmax(u / T), and a second T is
    fitted to them as `fit_temperature` does. Answers on test are right with the probability that
    the first T gives them, while their confidence is that of the second T. `calib` and `test` are
    the arrays that T divides, calib's in float64. Soft labels vary less than drawn ones, so for
    them the result is an upper bound.
    """
    rng = np.random.default_rng(SEED)
    sharpness = 1 / fitted.value
    reach = REACH if fitted.error is None else min(REACH, ERRORS * fitted.error)
    log_refitted = np.sort(_refitted(calib, sharpness, reach, rng))
    right = _confidence(test, sharpness)
    grid = np.linspace(log_refitted[0], log_refitted[-1] + 1e-9, 17)
    confidences = np.stack([_confidence(test, math.exp(node)) for node in grid])
    gaps, errors = [], []
    for group in np.array_split(log_refitted, GROUPS):
        confidence = _between(grid, confidences, float(group.mean()))
        drawn = _gaps(confidence, right, len(group), rng)
        gaps.append(drawn.sum(axis=1))
        errors.append(np.abs(drawn).sum(axis=1))
    return NullDraws(np.concatenate(errors), np.concatenate(gaps), soft)


def _refitted(u: Outputs, sharpness: float, reach: float, rng: np.random.Generator) -> Draws:
    """Log of the sharpness that is fitted to each of DRAWS draws of the labels of calib."""
    slope = _slope(u, math.log(sharpness) + np.linspace(-reach, reach, NODES))
    sums = _sums_of_true(u, sharpness, rng)
    refitted = np.interp(sums, slope.expected, slope.log_sharpness)
    unknown = np.interp(refitted, slope.log_sharpness, slope.error) > UNKNOWN
    unknown |= sums >= slope.expected[-1]
    doubtful = np.interp(sums, slope.with_doubt, slope.log_sharpness)
    fitted: Draws = np.where(unknown, doubtful, refitted)
    return fitted


def _slope(u: Outputs, nodes: Nodes) -> Slope:
    expected, variance = np.array([_moments(u, math.exp(node)) for node in nodes]).T
    sharpness = np.exp(nodes)
    with np.errstate(divide="ignore"):
        error = 1 / (sharpness * np.sqrt(variance))
    margin = typical_margin(u - u.max(axis=1, keepdims=True))
    return Slope(nodes, expected, error, expected + margin * expit(sharpness * margin))


def _moments(u: Outputs, sharpness: float) -> tuple[float, float]:
    """Sums over images of the mean and of the variance of u under softmax(sharpness u)."""
    p = np.exp(log_softmax(sharpness * u, axis=1))
    mean = np.einsum("ij,ij->i", p, u)
    variance = np.einsum("ij,ij->", p, np.square(u - mean[:, None]))
    return float(mean.sum()), float(variance)


def _sums_of_true(u: Outputs, sharpness: float, rng: np.random.Generator) -> Draws:
    """Sum over images of the output of the true class, in each draw of the labels."""
    if u.size > FEW:
        mean, variance = _moments(u, sharpness)
        return mean + math.sqrt(variance) * rng.standard_normal(DRAWS)
    cumulated = np.exp(log_softmax(sharpness * u, axis=1)).cumsum(axis=1)
    sums = np.zeros(DRAWS)
    images = max(1, BLOCK // DRAWS)
    for start in range(0, len(u), images):
        part = slice(start, start + images)
        sums += _drawn(u[part], cumulated[part], rng)
    return sums


def _drawn(u: Outputs, cumulated: Outputs, rng: np.random.Generator) -> Draws:
    """Sum of the outputs of drawn classes, in each draw; `cumulated` sums p over the classes."""
    n, c = u.shape
    uniform = rng.random((DRAWS, n))
    labels = np.zeros((DRAWS, n), dtype=np.int64)
    for k in range(c - 1):
        labels += uniform > cumulated[:, k]
    sums: Draws = u[np.arange(n), labels].sum(axis=1)
    return sums


def _confidence(u: Outputs, sharpness: float) -> Values:
    """The largest probability of each image; a block of rows at a time, converted to float64."""
    rows = max(1, FEW // u.shape[1])
    blocks = (u[start : start + rows].astype(np.float64) for start in range(0, len(u), rows))
    return np.concatenate(
        [np.exp(log_softmax(sharpness * block, axis=1)).max(axis=1) for block in blocks]
    )


def _between(grid: Nodes, values: np.ndarray, place: float) -> Values:
    """Interpolate linearly between the nodes of a regular grid."""
    at = (place - grid[0]) / (grid[1] - grid[0])
    left = min(int(at), len(grid) - 2)
    between: Values = (1 - (at - left)) * values[left] + (at - left) * values[left + 1]
    return between


def _gaps(
    confidence: Values, right: Values, draws: int, rng: np.random.Generator
) -> Float[np.ndarray, "draws b"]:
    """Sum of confidence - correct in each bin of confidence, over n, in each draw."""
    order = confidence.argsort(kind="stable")
    confidence = confidence[order]
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    first = np.flatnonzero(np.diff(bins, prepend=-1))
    correct = rng.random((draws, len(order)), dtype=np.float32) < right[order]
    hits = np.add.reduceat(correct, first, axis=1, dtype=np.float64)
    gaps: np.ndarray = (np.add.reduceat(confidence, first) - hits) / len(order)
    return gaps
