"""Vector scaling: a weight and a bias for each class.  Guo et al., 2017, arXiv:1706.04599."""

from functools import partial

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import log_softmax

from xent_bench.arrays import LogProbabilities, Outputs, is_soft, normalised
from xent_bench.calibrators import temperature
from xent_bench.links import Link
from xent_bench.runs.predictions import Predicted

PRECISE = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}


def fit(calib: Predicted, link: Link) -> Link:
    """Find the weights and biases at which the NLL on calib plus a prior's is least, by L-BFGS.

    The map is log softmax(exp(a) u / T + b), with u and T of temperature scaling, which it equals
    at a = b = 0. The prior, a and b standard normal, keeps them finite if calib is classified
    without an error, and fades as calib grows. ValueError if there is no optimum.
    """
    t = temperature.fit_temperature(calib, link).value
    v = temperature.dividend(calib.outputs.astype(np.float64), link) / t
    n, c = v.shape
    every, target = np.arange(n), calib.target
    q = normalised(target) if is_soft(target) else None

    def objective(parameters: Float[np.ndarray, " p"]) -> tuple[float, Float[np.ndarray, " p"]]:
        a, b = parameters[:c], parameters[c:]
        scaled = np.exp(a) * v
        log_p = log_softmax(scaled + b, axis=1)
        residual = np.exp(log_p)
        if q is None:
            residual[every, target] -= 1
            nll = -log_p[every, target].sum()
        else:
            residual -= q
            nll = -np.vdot(q, log_p)
        gradient = np.concatenate([(residual * scaled).sum(axis=0), residual.sum(axis=0)])
        value = nll + parameters @ parameters / 2
        return value / n, (gradient + parameters) / n

    optimum = minimize(objective, np.zeros(2 * c), jac=True, method="L-BFGS-B", options=PRECISE)
    if np.abs(optimum.jac).max() > 1e-4:
        raise ValueError(f"vector scaling found no optimum: {optimum.message}")
    return partial(scale, link=link, weight=np.exp(optimum.x[:c]) / t, bias=optimum.x[c:])


def scale(
    outputs: Outputs,
    *,
    link: Link,
    weight: Float[np.ndarray, " c"],
    bias: Float[np.ndarray, " c"],
) -> LogProbabilities:
    """log softmax(weight u + bias); may change the order of the classes, so top-1."""
    u = temperature.dividend(outputs, link)
    scaled: LogProbabilities = log_softmax(weight * u + bias, axis=1)
    return scaled
