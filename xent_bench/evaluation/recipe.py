"""Whether temperature scaling is calibrated as a recipe, that is with T fitted anew each time.

A fitted temperature misses the best one by chance. For one net with its temperature that is a real
error, and `test_ts_verdict` counts it as one. Whether scaling works is another question: the band
here is what a net shows that would be calibrated at its best T, once T is fitted on calib.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.special import expit, log_softmax

from xent_bench.arrays import Outputs, Values
from xent_bench.calibrators.temperature import (
    UNKNOWN,
    Temperature,
    moments,
    probability_blocks,
    typical_margin,
)
from xent_bench.metrics.calibration import BINS
from xent_bench.metrics.random_draws import Request, draws
from xent_bench.metrics.uncertainty import BLOCK, DRAWS, Draws, NullDraws, rounded_up

Nodes: TypeAlias = Float[np.ndarray, " nodes"]

# how far log sharpness may lie from the fitted one: at most, and in standard errors
REACH, ERRORS = 3.0, 8.0
NODES = 41  # values of log sharpness, between which functions of it are taken as linear
GROUPS = 40  # of draws; those of a group share a temperature
# outputs on calib up to which labels are drawn one by one; above, their sum is drawn as normal
FEW = 2**17
IN_CACHE = 2**16  # random numbers that stay in a processor's cache


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
    random = draws(*_requests(calib, len(test)))
    sharpness = 1 / fitted.value
    reach = REACH if fitted.error is None else min(REACH, ERRORS * fitted.error)
    log_refitted = np.sort(_refitted(calib, sharpness, reach, random))
    right = _confidence(test, sharpness)
    grid = np.linspace(log_refitted[0], log_refitted[-1] + 1e-9, 17)
    confidences = np.stack([_confidence(test, math.exp(node)) for node in grid])
    gaps, errors = [], []
    for group in np.array_split(log_refitted, GROUPS):
        confidence = _between(grid, confidences, float(group.mean()))
        drawn = _gaps(confidence, right, next(random))
        gaps.append(drawn.sum(axis=1))
        errors.append(np.abs(drawn).sum(axis=1))
    return NullDraws(np.concatenate(errors), np.concatenate(gaps), soft)


def _requests(calib: Outputs, n_test: int) -> list[Request]:
    """The random numbers for the labels of calib, and for each group's answers on test."""
    groups = [
        Request((len(group), n_test), "uniform in float32")
        for group in np.array_split(range(DRAWS), GROUPS)
    ]
    if calib.size > FEW:
        return [Request((DRAWS,), "normal"), *groups]
    return [*(Request((DRAWS, len(part))) for part in _parts(calib)), *groups]


def _parts(u: Outputs) -> list[Outputs]:
    """Blocks of images, whose labels are drawn at a time."""
    images = max(1, BLOCK // DRAWS)
    return [u[start : start + images] for start in range(0, len(u), images)]


def _refitted(u: Outputs, sharpness: float, reach: float, random: Iterator[np.ndarray]) -> Draws:
    """Log of the sharpness that is fitted to each of DRAWS draws of the labels of calib."""
    slope = _slope(u, math.log(sharpness) + np.linspace(-reach, reach, NODES))
    sums = _sums_of_true(u, sharpness, random)
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
    mean, variance = moments(u, sharpness)
    return float(mean.sum()), variance


def _sums_of_true(u: Outputs, sharpness: float, random: Iterator[np.ndarray]) -> Draws:
    """Sum over images of the output of the true class, in each draw of the labels."""
    if u.size > FEW:
        mean, variance = _moments(u, sharpness)
        return mean + math.sqrt(variance) * next(random)
    cumulated = np.exp(log_softmax(sharpness * u, axis=1)).cumsum(axis=1)
    sums = np.zeros(DRAWS)
    for some_images, some_cumulated in zip(_parts(u), _parts(cumulated), strict=True):
        uniform = next(random)
        rows = max(1, IN_CACHE // len(some_images))
        sums += np.concatenate(
            [
                _drawn(some_images, some_cumulated, uniform[start : start + rows])
                for start in range(0, DRAWS, rows)
            ]
        )
    return sums


def _drawn(u: Outputs, cumulated: Outputs, uniform: Float[np.ndarray, "m n"]) -> Draws:
    """Sum of the outputs of drawn classes, in each draw; `cumulated` sums p over the classes."""
    n, c = u.shape
    labels = np.zeros(uniform.shape, np.min_scalar_type(c))
    for bound in np.ascontiguousarray(cumulated.T[:-1]):
        labels += uniform > bound
    sums: Draws = u.ravel().take(np.arange(0, n * c, c) + labels).sum(axis=1)
    return sums


def _confidence(u: Outputs, sharpness: float) -> Values:
    """The largest probability of each image, in float64."""
    return np.concatenate([p.max(axis=1) for _, p in probability_blocks(u, sharpness)])


def _between(grid: Nodes, values: np.ndarray, place: float) -> Values:
    """Interpolate linearly between the nodes of a regular grid."""
    at = (place - grid[0]) / (grid[1] - grid[0])
    left = min(int(at), len(grid) - 2)
    between: Values = (1 - (at - left)) * values[left] + (at - left) * values[left + 1]
    return between


def _gaps(
    confidence: Values, right: Values, uniform: Float[np.ndarray, "draws n"]
) -> Float[np.ndarray, "draws b"]:
    """Sum of confidence - correct in each bin of confidence, over n, in each draw."""
    order = confidence.argsort(kind="stable")
    confidence = confidence[order]
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    first = np.flatnonzero(np.diff(bins, prepend=-1))
    correct = uniform < rounded_up(right[order])  # both in float32, which halves the work
    hits = np.add.reduceat(correct, first, axis=1, dtype=np.int64)
    gaps: np.ndarray = (np.add.reduceat(confidence, first) - hits) / len(order)
    return gaps
