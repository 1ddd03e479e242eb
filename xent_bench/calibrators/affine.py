"""Affine maps of log-probabilities, fitted by NLL with a ridge penalty.

The map is softmax(W x + b), with x the log-probabilities after temperature scaling, of which a
share of 1 / (n + 1) is spread evenly over the classes, n being the images of calib: what calib
cannot show to be impossible is not taken for impossible, and no huge output sets a weight. At W = I
and b = 0 the map is x, and the penalty pulls it there. The objective is convex.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import log_softmax

from xent_bench.arrays import LogProbabilities, Outputs, Target, is_soft, normalised
from xent_bench.calibrators import temperature
from xent_bench.links import Link
from xent_bench.runs.predictions import Predicted

Weight: TypeAlias = Float[np.ndarray, "c c"] | Float[np.ndarray, " c"]  # W, or its diagonal
Bias: TypeAlias = Float[np.ndarray, " c"]
Parameters: TypeAlias = Float[np.ndarray, " p"]
Inputs: TypeAlias = Callable[[Outputs], LogProbabilities]

PRECISE = {"ftol": 1e-16, "gtol": 1e-9, "maxiter": 2000, "maxfun": 4000, "maxls": 50}
ROUGH = PRECISE | {"ftol": 1e-8}  # relative: to tell one penalty from another, no more is needed
ENOUGH = 1e-5  # slope of the mean NLL at which the optimum counts as reached
BLOCK = 2**22  # log-probabilities at a time


class Penalty(NamedTuple):
    """The price, in nats, of the square of each parameter's distance from temperature scaling.

    The sum is added to the NLL summed over calib. `off_diagonal` None: W is diagonal.
    """

    bias: float
    diagonal: float
    off_diagonal: float | None


class Affine(NamedTuple):
    """The fitted W, or its diagonal, and b."""

    weight: Weight
    bias: Bias


def fit_map(calib: Predicted, link: Link, penalty: Penalty, name: str) -> Link:
    """Fit the temperature, then W and b; return the map. ValueError on another split than calib."""
    preprocess = fit_inputs(calib, link)
    affine = fit_affine(preprocess(calib.outputs), calib.target, penalty, name)
    return partial(apply, preprocess=preprocess, affine=affine)


def apply(outputs: Outputs, *, preprocess: Inputs, affine: Affine) -> LogProbabilities:
    """log softmax(W x + b) of raw outputs; may change the order of the classes, so top-1."""
    return probabilities(preprocess(outputs), affine)


def probabilities(x: LogProbabilities, affine: Affine) -> LogProbabilities:
    """log softmax(W x + b)."""
    moved = x * affine.weight if affine.weight.ndim == 1 else x @ affine.weight.T
    calibrated: LogProbabilities = log_softmax(moved + affine.bias, axis=1)
    return calibrated


def fit_inputs(calib: Predicted, link: Link) -> Inputs:
    """Fit the temperature on calib, and return the map from outputs to x."""
    return partial(inputs, tempered=temperature.fit(calib, link), images=len(calib.target))


def inputs(outputs: Outputs, *, tempered: Link, images: int) -> LogProbabilities:
    """The array x = log((n p + 1 / c) / (n + 1)), with p after temperature scaling."""
    log_p = tempered(outputs.astype(np.float64))
    assert log_p is not None
    log_even = -np.log((images + 1) * log_p.shape[1])
    x: LogProbabilities = np.logaddexp(log_p + np.log(images / (images + 1)), log_even)
    return x


def fit_affine(
    x: LogProbabilities,
    target: Target,
    penalty: Penalty,
    name: str = "",
    start: Affine | None = None,
) -> Affine:
    """Find W and b at which the NLL plus the penalty is least, by L-BFGS from `start`.

    With a `name`, the optimum is reached, whatever the start; or a ValueError names the calibrator.
    Without one it is found roughly.
    """
    n, c = x.shape
    scale = _scale(penalty, c)  # parameters times it have a penalty of 1 each, all alike
    first = np.zeros(len(scale)) if start is None else _flat(start) * scale
    problem = _Problem(x, target, is_diagonal=penalty.off_diagonal is None)

    def objective(scaled: Parameters) -> tuple[float, Parameters]:
        nll, slope = problem.nll(scaled / scale)
        return (nll + float(scaled @ scaled)) / n, (slope / scale + 2 * scaled) / n

    options = PRECISE if name else ROUGH
    optimum = minimize(objective, first, jac=True, method="L-BFGS-B", options=options)
    if name and np.abs(optimum.jac).max() > ENOUGH:
        raise ValueError(f"{name} found no optimum: {optimum.message}")
    change, bias = _parts(optimum.x / scale, c)
    return Affine(change + (np.eye(c) if change.ndim == 2 else 1.0), bias)


class _Problem(NamedTuple):
    """The NLL on calib, as a function of the parameters."""

    x: LogProbabilities
    target: Target
    is_diagonal: bool

    def nll(self, parameters: Parameters) -> tuple[float, Parameters]:
        """The NLL summed over calib, in nats, and its slope; a block of rows at a time."""
        n, c = self.x.shape
        change, bias = _parts(parameters, c)
        value, slope, bias_slope = 0.0, np.zeros_like(change), np.zeros(c)
        rows = max(1, BLOCK // c)
        for first in range(0, n, rows):
            x = self.x[first : first + rows]
            moved = x * change if self.is_diagonal else x @ change.T
            log_p = log_softmax(x + moved + bias, axis=1)
            nll, residual = _residual(log_p, self.target[first : first + rows])
            value += nll
            slope += (residual * x).sum(axis=0) if self.is_diagonal else residual.T @ x
            bias_slope += residual.sum(axis=0)
        return value, np.append(slope.ravel(), bias_slope)


def _residual(log_p: LogProbabilities, target: Target) -> tuple[float, Outputs]:
    """The sum of -sum_k q_k log p_k over the rows, and p - q."""
    residual: Outputs = np.exp(log_p)
    if is_soft(target):
        q = normalised(target)
        residual -= q
        return -float(np.einsum("ij,ij->", q, log_p)), residual
    every = np.arange(len(target))
    residual[every, target] -= 1
    return -float(log_p[every, target].sum()), residual


def _scale(penalty: Penalty, c: int) -> Parameters:
    """The square root of each parameter's penalty, in the order of the parameters."""
    if penalty.off_diagonal is None:
        of_weight = np.full(c, penalty.diagonal, dtype=np.float64)
    else:
        matrix = np.full((c, c), penalty.off_diagonal, dtype=np.float64)
        np.fill_diagonal(matrix, penalty.diagonal)
        of_weight = matrix.ravel()
    scale: Parameters = np.sqrt(np.append(of_weight, np.full(c, penalty.bias)))
    return scale


def _parts(parameters: Parameters, c: int) -> tuple[Weight, Bias]:
    """The change of W, or of its diagonal, and b."""
    change = parameters[:-c]
    return change if len(change) == c else change.reshape(c, c), parameters[-c:]


def _flat(affine: Affine) -> Parameters:
    weight, bias = affine
    change = weight - (np.eye(len(bias)) if weight.ndim == 2 else 1.0)
    return np.append(change.ravel(), bias)
