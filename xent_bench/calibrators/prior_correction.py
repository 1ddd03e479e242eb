"""Correction for class frequencies that differ between train and the place of use.

The correction by itself is that of Saerens et al., 2002, doi:10.1162/089976602753284446, and of
Menon et al., 2021, arXiv:2007.07314; what is fitted lets it serve every loss.
"""

import math
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import log_softmax

from xent_bench.arrays import LogProbabilities, Outputs, Target, is_soft, normalised
from xent_bench.calibrators import temperature
from xent_bench.links import Link
from xent_bench.metrics.accuracy import PerClass
from xent_bench.metrics.class_sizes import class_counts, frequencies
from xent_bench.runs.predictions import Predicted

Pair: TypeAlias = Float[np.ndarray, " 2"]  # the sharpness, relative to temperature scaling's, and a

PRECISE = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000}
LEAST = 1e-3  # sharpness, relative to that of temperature scaling
NEUTRAL = np.array([1.0, 0.5])  # the prior's mean: as temperature scaling, and no loss preferred


class PriorCorrection(NamedTuple):
    """The fitted numbers of the map log p_train(y|x) = u_y / T + a log pi_train(y) + constant.

    a is the power of train's class frequencies that the outputs lack: 0 for a loss whose outputs
    contain all of them, as ce, and 1 for one that takes them out, as balanced_softmax.
    """

    temperature: float  # T
    exponent: float  # a
    exponent_error: float  # standard error of a over the images of calib


def fit(calib: Predicted, link: Link, *, train_counts: PerClass, test_counts: PerClass) -> Link:
    """Fit T and a on calib, and return the map to probabilities where test's frequencies hold.

    It is log p(y|x) = u_y / T + (a - 1) log pi_train(y) + log pi_test(y) + constant, with u the
    `dividend` of temperature scaling. At T = 1 and a = 0 this is the plain correction,
    log p - log pi_train + log pi_test, which corrects a loss like balanced_softmax twice.
    """
    fitted = fit_correction(calib, link, train_counts)
    shift = (fitted.exponent - 1) * np.log(frequencies(train_counts))
    shift += np.log(frequencies(test_counts))
    return partial(correct, link=link, fitted=fitted, shift=shift)


def numbers(corrected: "partial[LogProbabilities]") -> dict[str, float]:
    """The fitted numbers of a map, by what follows the prefix in their keys."""
    fitted: PriorCorrection = corrected.keywords["fitted"]
    return {
        "/temperature": fitted.temperature,
        "/prior_exponent": fitted.exponent,
        "_se/prior_exponent": fitted.exponent_error,
    }


def correct(
    outputs: Outputs, *, link: Link, fitted: PriorCorrection, shift: PerClass
) -> LogProbabilities:
    """log softmax(u / T + shift); changes the order of the classes, so top-1."""
    u = temperature.dividend(outputs, link)
    corrected: LogProbabilities = log_softmax(u / fitted.temperature + shift, axis=1)
    return corrected


def fit_correction(calib: Predicted, link: Link, train_counts: PerClass) -> PriorCorrection:
    """Find T and a at which the NLL on calib plus a prior's is least, by L-BFGS.

    The NLL is that of u / T + (a - 1) log pi_train + log pi_calib, so that a means the same whether
    calib has the class frequencies of train or others; it is convex in (1/T, a). The prior is
    normal with standard deviation 1, around the T of temperature scaling (for the ratio of the two
    sharpnesses) and around a = 1/2. It keeps both finite where calib shows little, and fades as
    calib grows. If calib leaves the temperature open, that of temperature scaling is kept.
    ValueError on another split, or if there is no optimum.
    """
    scaled = temperature.fit_temperature(calib, link)
    v = temperature.dividend(calib.outputs.astype(np.float64), link) / scaled.value
    n, c = v.shape
    log_train = np.log(frequencies(train_counts))
    offset = np.log(frequencies(class_counts(calib.target, c))) - log_train
    every, target = np.arange(n), calib.target
    q = normalised(target) if is_soft(target) else None

    def objective(parameters: Pair) -> tuple[float, Pair]:
        sharpness, exponent = parameters
        log_p = log_softmax(sharpness * v + (exponent * log_train + offset), axis=1)
        residual = np.exp(log_p)
        if q is None:
            nll = -log_p[every, target].sum()
            residual[every, target] -= 1
        else:
            nll = -np.vdot(q, log_p)
            residual -= q
        slope = np.array([np.vdot(residual, v), residual.sum(axis=0) @ log_train])
        distance = parameters - NEUTRAL
        return (nll + distance @ distance / 2) / n, (slope + distance) / n

    bounds = [(1.0, 1.0) if scaled.at_bound else (LEAST, None), (None, None)]
    optimum = minimize(
        objective, NEUTRAL, jac=True, method="L-BFGS-B", bounds=bounds, options=PRECISE
    )
    sharpness, exponent = optimum.x
    free = [1] if scaled.at_bound or sharpness <= LEAST else [0, 1]
    if np.abs(optimum.jac[free]).max() > 1e-4:
        raise ValueError(f"prior correction found no optimum: {optimum.message}")
    p = np.exp(log_softmax(sharpness * v + (exponent * log_train + offset), axis=1))
    error = _error(p, v, log_train, calib.target, free)
    return PriorCorrection(float(scaled.value / sharpness), float(exponent), error)


def _error(p: Outputs, v: Outputs, log_train: PerClass, target: Target, free: list[int]) -> float:
    """Standard error of a for the class sizes of calib as they are: the sandwich of Huber, 1967.

    It is the root of the last entry of H^-1 (S + 1) H^-1, with H the curvature of the objective and
    S the sum of the squared slopes of the examples, each less the mean of its class: since the
    class frequencies of calib are put into the objective as counted, how they fell out adds no
    error. The 1 is the pull of the prior: without any evidence the error is the prior's own, 1. An
    example with a soft label counts for its likeliest class. `free` are the parameters fitted.
    """
    means = np.stack([np.einsum("ij,ij->i", p, v), p @ log_train], axis=1)
    mixed = np.einsum("ij,ij,j->", p, v, log_train)
    squares = np.array(
        [[np.einsum("ij,ij,ij->", p, v, v), mixed], [mixed, (p @ log_train**2).sum()]]
    )
    curvature = (squares - means.T @ means + np.eye(2))[np.ix_(free, free)]
    q = normalised(target) if is_soft(target) else np.eye(p.shape[1])[target]
    slopes = (means - np.stack([np.einsum("ij,ij->i", q, v), q @ log_train], axis=1))[:, free]
    label = target.argmax(axis=1) if is_soft(target) else target
    counts = np.maximum(np.bincount(label, minlength=p.shape[1]), 1)
    for column in slopes.T:
        column -= (np.bincount(label, column, minlength=len(counts)) / counts)[label]
    inverse = np.linalg.inv(curvature)
    spread = slopes.T @ slopes + np.eye(len(free))
    return math.sqrt((inverse @ spread @ inverse)[-1, -1])
