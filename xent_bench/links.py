"""Links: how a loss's outputs become probabilities.

A loss declares its link beside its formula, `@use(simplex)`; softmax when nothing is said. A link
may take hyper-parameters of its loss, by name: `link_of` binds them.
"""

from collections.abc import Callable
from functools import partial
from inspect import signature
from typing import Any, ParamSpec, TypeAlias, TypeVar

import torch
from torch.nn.functional import logsigmoid

from xent_bench.offer import offer
from xent_bench.types import Logits, LogProbabilities

P = ParamSpec("P")
R = TypeVar("R")
Link: TypeAlias = Callable[[Logits], LogProbabilities | None]


def softmax(logits: Logits) -> LogProbabilities:
    """log softmax(z)."""
    return logits.log_softmax(dim=1)


def sigmoid(logits: Logits) -> LogProbabilities:
    """log(s_k / sum_j s_j) with s = sigmoid(z): one-vs-rest, normalised over classes."""
    return logsigmoid(logits).log_softmax(dim=1)


def simplex(logits: Logits) -> LogProbabilities:
    """Log of the point of the probability simplex nearest to z; -inf off its support.

    max(z - tau, 0) with tau such that the row sums to 1. Held, Wolfe and Crowder, 1974. For losses
    that regress the one-hot vector: a perfect regressor gets confidence 1, where softmax would
    give it 0.232 among ten classes.
    """
    logits = logits - logits.amax(dim=1, keepdim=True)  # the same point; 1e17 - 1 is 1e17
    ordered = logits.sort(dim=1, descending=True).values
    excess = ordered.cumsum(dim=1) - 1
    rank = torch.arange(1, logits.shape[1] + 1, device=logits.device)
    support = (ordered * rank > excess).sum(dim=1, keepdim=True)
    tau = excess.gather(1, support - 1) / support
    return (logits - tau).clamp_min(0).log()


def margin(logits: Logits) -> None:
    """Scores that are not probabilities, as a hinge's: what needs probabilities is not reported."""


def use(link: Callable[..., LogProbabilities | None]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare the link of the loss below."""

    if not callable(link):
        raise TypeError(f"expected a function as link, got {link!r}")

    def declare(loss: Callable[P, R]) -> Callable[P, R]:
        loss.link = link  # type: ignore[attr-defined]  # a function's attribute is the declaration
        return loss

    return declare


def link_of(loss: "partial[Any]") -> "partial[LogProbabilities | None]":
    """The link that a configured loss declares, with the hyper-parameters that the link names."""
    parameters = signature(loss.func).parameters.values()
    defaults = {each.name: each.default for each in parameters if each.default is not each.empty}
    return offer(getattr(loss.func, "link", softmax), **defaults | loss.keywords)
