"""Links: functions from a net's outputs to log-probabilities, one for each kind of loss.

A loss declares its link beside its formula with `@use(simplex)`; without one it is softmax. A link
maps each NumPy row of outputs to a row of log-probabilities, so predictions can be scored again
without PyTorch. It may take hyper-parameters of its loss by name; `link_of` binds them.
"""

from collections.abc import Callable
from functools import partial
from inspect import isfunction, signature
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
from scipy.special import log_expit, log_softmax

from xent_bench.arrays import LogProbabilities, Outputs
from xent_bench.offer import offer

LINKS = ("softmax", "sigmoid", "simplex", "projection", "normalised_softmax", "margin")
P = ParamSpec("P")
R = TypeVar("R")
Link: TypeAlias = Callable[[Outputs], LogProbabilities | None]
BoundLink: TypeAlias = "partial[LogProbabilities | None]"  # a link with its hyper-parameters bound


def softmax(outputs: Outputs) -> LogProbabilities:
    """log softmax(z)."""
    log_p: LogProbabilities = log_softmax(outputs, axis=1)
    return log_p


def sigmoid(outputs: Outputs) -> LogProbabilities:
    """log(s_k / sum_j s_j) with s = sigmoid(z): one-vs-rest, normalised over classes."""
    return softmax(log_expit(outputs))


def simplex(outputs: Outputs) -> LogProbabilities:
    """Log of the point of the probability simplex nearest to z; -inf where that point is 0.

    max(z - tau, 0) with tau such that the row sums to 1. Held, Wolfe and Crowder, 1974. For losses
    that regress the one-hot vector: a perfect regressor gets confidence 1, where softmax would
    give it 0.232 among ten classes.
    """
    # a shift of the row does not move the nearest point; without it 1e17 - 1 would be 1e17 below
    outputs = outputs - outputs.max(axis=1, keepdims=True)
    ordered = -np.sort(-outputs, axis=1)
    excess = ordered.cumsum(axis=1) - 1
    rank = np.arange(1, outputs.shape[1] + 1)
    support = (ordered * rank > excess).sum(axis=1, keepdims=True)
    tau = np.take_along_axis(excess, support - 1, axis=1) / support
    with np.errstate(divide="ignore"):  # log 0 = -inf is intended
        log_p: LogProbabilities = np.log(np.maximum(outputs - tau, 0))
    return log_p


def projection(outputs: Outputs, *, M: float) -> LogProbabilities:  # noqa: N803  the paper's letter
    """Log of the point of the probability simplex nearest to z / M."""
    return simplex(outputs / M)


def normalised_softmax(outputs: Outputs, *, tau: float) -> LogProbabilities:
    """log softmax(z / (tau (|z| + 1e-7))): only the direction of z matters."""
    norm = np.linalg.norm(outputs, axis=1, keepdims=True)
    return softmax(outputs / (tau * (norm + 1e-7)))


def margin(outputs: Outputs) -> None:
    """No log-probabilities (None), for losses whose outputs are scores only, such as a hinge.

    Metrics that need probabilities are then not reported.
    """


# Links that losses of this process have declared, by name: a file of predictions may name them.
DECLARED: dict[str, Callable[..., LogProbabilities | None]] = {}


def name_of(link: Callable[..., Any]) -> str:
    """The dotted name of a link's function."""
    return f"{link.__module__}.{link.__qualname__}"


def named_link(name: str) -> Callable[..., LogProbabilities | None]:
    """The link of that name, if it is one of this module, or if a loss here has declared it.

    Nothing is imported for a name, which may come from somebody else's file. ValueError otherwise.
    """
    module, _, function_name = name.rpartition(".")
    link = DECLARED.get(name)
    if link is None and module == __name__ and function_name in LINKS:
        link = globals()[function_name]
    if link is None:
        raise ValueError(
            f"no loss here declares {name} as its link; if it is yours: --trust {module}, with the "
            "module of the loss"
        )
    return link


def use(link: Callable[..., LogProbabilities | None]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare the link of a loss, as a decorator. TypeError unless the link can be called."""
    if not callable(link):
        raise TypeError(f"expected a function as link, got {link!r}")

    if isfunction(link):
        DECLARED[name_of(link)] = link

    def declare(loss: Callable[P, R]) -> Callable[P, R]:
        loss.link = link  # type: ignore[attr-defined]  # a function's attribute is the declaration
        return loss

    return declare


def link_of(loss: "partial[Any]") -> BoundLink:
    """The link of a configured loss, bound to the hyper-parameters of the loss that it takes."""
    parameters = signature(loss.func).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    # class counts are a tensor for the loss, an array for the link
    given = {k: np.asarray(v) if hasattr(v, "__array__") else v for k, v in loss.keywords.items()}
    return offer(getattr(loss.func, "link", softmax), **defaults | given)
