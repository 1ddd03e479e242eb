"""Affine maps of log-probabilities, fitted by NLL with a ridge penalty.

The map is softmax(W x + b), with x the log-probabilities after temperature scaling, of which a
share of 1 / (n + 1) is spread evenly over the classes, n being the images of calib: what calib
cannot show to be impossible is not taken for impossible, and no huge output sets a weight. At W = I
and b = 0 the map is x, and the penalty pulls it there. The objective is convex.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import log_softmax

from xent_bench.arrays import LogProbabilities, Outputs, Target, is_soft, normalised
from xent_bench.calibrators import temperature
from xent_bench.links import Link
from xent_bench.runs.predictions import Predicted

Weight: TypeAlias = Float[np.ndarray, "c c"] | Float[np.ndarray, " c"]  # W, or its diagonal
Bias: TypeAlias = Float[np.ndarray, " c"]
Parameters: TypeAlias = Float[np.ndarray, " p"]
Inputs: TypeAlias = Callable[[Outputs], LogProbabilities]

# ftol is relative: to tell one penalty from another, no more is needed
ROUGH = {"ftol": 1e-8, "gtol": 1e-9, "maxiter": 2000, "maxfun": 4000, "maxls": 50}
# slope of the mean NLL at which the optimum counts as reached. L-BFGS, which looks at the NLL,
# stops at 1e-8, and then metrics differ between processors from the seventh digit on
ENOUGH = 1e-12
STEPS = 8  # of Newton's method at most; two are usual
BLOCK = 2**22  # log-probabilities at a time


class Penalty(NamedTuple):
    """The price, in nats, of the square of each parameter's distance from temperature scaling.

    The sum is added to the NLL summed over calib. `off_diagonal` None: W is diagonal.
    """

    bias: float
    diagonal: float
    off_diagonal: float | None


class Affine(NamedTuple):
    """The map from x to W x + b; `weight` is the diagonal of W where W is diagonal."""

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


def fit_affine(x: LogProbabilities, target: Target, penalty: Penalty, name: str) -> Affine:
    """Find W and b at which the NLL plus the penalty is least, by L-BFGS and then Newton's method.

    ValueError names the calibrator if the optimum is not reached.
    """
    problem = _Problem(x, target, is_diagonal=penalty.off_diagonal is None)
    scale = _scale(penalty, x.shape[1])
    near = _by_lbfgs(problem, np.zeros(len(scale)), scale)
    return _affine(_by_newton(problem, near, scale, name) / scale, x.shape[1])


def fit_roughly(
    x: LogProbabilities, target: Target, penalty: Penalty, start: Affine | None
) -> Affine:
    """Find W and b near the optimum, by L-BFGS alone, from `start` or from W = I and b = 0."""
    problem = _Problem(x, target, is_diagonal=penalty.off_diagonal is None)
    scale = _scale(penalty, x.shape[1])
    first = np.zeros(len(scale)) if start is None else _flat(start) * scale
    return _affine(_by_lbfgs(problem, first, scale) / scale, x.shape[1])


def summed_nll(log_p: LogProbabilities, target: Target) -> float:
    """Sum of -sum_k q_k log p_k over the rows, in nats; q is one-hot where target is classes."""
    if is_soft(target):
        return -float(np.einsum("ij,ij->", normalised(target), log_p))
    return -float(log_p[np.arange(len(target)), target].sum())


def _by_lbfgs(problem: "_Problem", first: Parameters, scale: Parameters) -> Parameters:
    """Minimise the mean NLL plus the penalty over parameters that are multiplied by `scale`.

    Each of them then has a penalty of 1, so that L-BFGS sees them all alike.
    """
    n = len(problem.x)

    def objective(scaled: Parameters) -> tuple[float, Parameters]:
        nll, slope = problem.nll(scaled / scale)
        return (nll + float(scaled @ scaled)) / n, (slope / scale + 2 * scaled) / n

    near: Parameters = minimize(objective, first, jac=True, method="L-BFGS-B", options=ROUGH).x
    return near


def _by_newton(problem: "_Problem", near: Parameters, scale: Parameters, name: str) -> Parameters:
    """Go on from a point near the optimum; each step is solved by conjugate gradients."""
    n = len(problem.x)
    for _ in range(STEPS):
        _, slope = problem.nll(near / scale)
        slope = (slope / scale + 2 * near) / n
        if np.abs(slope).max() <= ENOUGH:
            return near
        curved = partial(_curved, problem, near / scale, scale)
        hessian = LinearOperator((len(near), len(near)), curved, dtype=np.float64)
        step, _ = cg(hessian, -slope, rtol=1e-4, maxiter=200)
        near = near + step
    raise ValueError(f"{name} found no optimum: its slope is {np.abs(slope).max():.1g}")


def _curved(
    problem: "_Problem", parameters: Parameters, scale: Parameters, direction: Parameters
) -> Parameters:
    """The change of the slope along a direction of the scaled parameters."""
    along = problem.curvature(parameters, direction / scale)
    curved: Parameters = (along / scale + 2 * direction) / len(problem.x)
    return curved


class _Problem(NamedTuple):
    """The NLL on calib, as a function of the parameters."""

    x: LogProbabilities
    target: Target
    is_diagonal: bool

    def nll(self, parameters: Parameters) -> tuple[float, Parameters]:
        """The NLL summed over calib, in nats, and its slope; a block of rows at a time."""
        value, slope = 0.0, np.zeros_like(parameters)
        for x, target in self._blocks():
            log_p = log_softmax(x + self._moved(x, parameters), axis=1)
            value += summed_nll(log_p, target)
            slope += self._summed(_residual(log_p, target), x)
        return value, slope

    def curvature(self, parameters: Parameters, direction: Parameters) -> Parameters:
        """The Hessian of the NLL summed over calib, times a direction."""
        product = np.zeros_like(parameters)
        for x, _ in self._blocks():
            p = np.exp(log_softmax(x + self._moved(x, parameters), axis=1))
            along = self._moved(x, direction)
            mean = np.einsum("ij,ij->i", p, along)
            product += self._summed(p * (along - mean[:, None]), x)
        return product

    def _blocks(self) -> Iterator[tuple[LogProbabilities, Target]]:
        n, c = self.x.shape
        rows = max(1, BLOCK // c)
        for first in range(0, n, rows):
            yield self.x[first : first + rows], self.target[first : first + rows]

    def _moved(self, x: LogProbabilities, parameters: Parameters) -> Outputs:
        """(W - I) x + b."""
        change, bias = _parts(parameters, x.shape[1])
        moved: Outputs = (x * change if self.is_diagonal else x @ change.T) + bias
        return moved

    def _summed(self, residual: Outputs, x: LogProbabilities) -> Parameters:
        """Sum over the rows of what the residuals are multiplied by in each parameter's slope."""
        slope = (residual * x).sum(axis=0) if self.is_diagonal else residual.T @ x
        return np.append(slope.ravel(), residual.sum(axis=0))


def _residual(log_p: LogProbabilities, target: Target) -> Outputs:
    """The slope of the NLL by the inputs of the softmax: p - q."""
    residual: Outputs = np.exp(log_p)
    if is_soft(target):
        residual -= normalised(target)
    else:
        residual[np.arange(len(target)), target] -= 1
    return residual


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


def _affine(parameters: Parameters, c: int) -> Affine:
    change, bias = _parts(parameters, c)
    return Affine(change + (np.eye(c) if change.ndim == 2 else 1.0), bias)


def _flat(affine: Affine) -> Parameters:
    """The parameters of a map: the inverse of `_affine`."""
    weight, bias = affine
    change = weight - (np.eye(len(bias)) if weight.ndim == 2 else 1.0)
    return np.append(change.ravel(), bias)
