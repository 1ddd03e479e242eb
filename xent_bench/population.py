"""What a loss learns from infinitely many examples of one image whose label is uncertain."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from xent_bench.links import link_of
from xent_bench.targets import encode, target_kind
from xent_bench.types import Index, Logits, PerExample

# Where the search starts: the best point of this grid, in every output.
GRID = (-20.0, -12.0, -8.0, -5.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0)
GRID = (*GRID, *(-value for value in reversed(GRID[:-1])))
NO_TIES = 0.003  # between outputs, where a loss may jump and which training never meets
FLAT = 1e-7  # a gradient below this is none


def at_labels(loss: "partial[Any]", logits: Logits, labels: Index) -> PerExample:
    """The loss of each row of logits for its label, encoded as the loss wants it."""
    target = encode(labels, target_kind(loss.func), logits.shape[1])
    value: PerExample = loss(
        logits, target.to(logits.dtype) if target.is_floating_point() else target
    )
    return value


def by_label(loss: "partial[Any]", logits: Logits, labels: Index) -> Tensor:
    """(n, len(labels)): the loss of each row of logits for each of the labels."""
    rows = logits.repeat_interleave(len(labels), dim=0)
    return at_labels(loss, rows, labels.repeat(len(logits))).view(len(logits), -1)


def minimisers(loss: "partial[Any]", posteriors: Sequence[Sequence[float]]) -> Tensor:
    """Row for row the outputs at which sum_y P(y) loss(z, y) is least for a posterior P.

    Found numerically in float64: the best point of a grid, then L-BFGS, and where that ends at a
    kink the simplex of Nelder and Mead. A minimum at infinity is followed until it is flat.
    """
    c = len(posteriors[0])
    grid = torch.tensor(list(itertools.product(GRID, repeat=c)), dtype=torch.float64)
    grid += NO_TIES * torch.arange(c)
    each = by_label(loss, grid, torch.arange(c))
    found = []
    for posterior in posteriors:
        weights = torch.tensor(posterior, dtype=torch.float64)
        start = grid[(each @ weights).argmin()]
        found.append(_descend(loss, weights, start.numpy()))
    return torch.tensor(np.array(found))


def found_probabilities(loss: "partial[Any]", outputs: Logits) -> Tensor | None:
    """The probabilities that the loss's link reads from outputs, if it reads any."""
    log_probabilities = link_of(loss)(outputs)
    return None if log_probabilities is None else log_probabilities.exp()


def _descend(loss: "partial[Any]", weights: Tensor, start: Any) -> Any:
    def risk(z: Any) -> Tensor:
        logits = torch.as_tensor(z)[None]
        return by_label(loss, logits, torch.arange(len(weights)))[0] @ weights

    def slope(z: Any) -> Any:
        logits = torch.tensor(z, requires_grad=True)
        return torch.autograd.grad(risk(logits), logits)[0].numpy()

    precise = {"ftol": 1e-16, "gtol": 1e-12}
    smooth = minimize(risk, start, jac=slope, method="L-BFGS-B", options=precise)
    if np.abs(slope(smooth.x)).max() < FLAT:
        return smooth.x
    precise = {"xatol": 1e-9, "fatol": 1e-15, "maxfev": 2000}
    kink = minimize(risk, smooth.x, method="Nelder-Mead", options=precise)
    return kink.x if kink.fun < smooth.fun else smooth.x
