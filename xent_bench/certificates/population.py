"""What a loss learns from infinitely many examples of one image whose label is uncertain."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from xent_bench.config.targets import encode, target_kind
from xent_bench.types import ClassCounts, Index, Logits, PerExample

# Where the search starts: outputs made of these.
POSITIVE = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
STARTS = (*(-value for value in reversed(POSITIVE)), 0.0, *POSITIVE)
NO_TIES = 0.003  # between outputs, where a loss may jump and which training never meets
LIMIT = 50.0  # of the outputs: some losses are least at infinity
TRIES = 3  # starts from which to descend
FEW = 3  # classes for which all combinations are tried
FLAT = 1e-7  # a gradient below this is none


def long_tail(classes: int) -> ClassCounts:
    """The class counts to assume: 1000 of the first, falling geometrically to 10 of the last."""
    return (1000 * 0.01 ** torch.linspace(0, 1, classes)).round().long()


def at_labels(loss: "partial[Any]", logits: Logits, labels: Index) -> PerExample:
    """The loss of each row of logits for its label, encoded as the loss wants it."""
    target = encode(labels, target_kind(loss.func), logits.shape[1])
    value: PerExample = loss(
        logits, target.to(logits.dtype) if target.is_floating_point() else target
    )
    if value.shape != labels.shape:
        got = tuple(value.shape)
        raise ValueError(f"expected one value an example, {tuple(labels.shape)}, got {got}")
    return value


def by_label(loss: "partial[Any]", logits: Logits, labels: Index) -> Tensor:
    """(n, len(labels)): the loss of each row of logits for each of the labels."""
    rows = logits.repeat_interleave(len(labels), dim=0)
    return at_labels(loss, rows, labels.repeat(len(logits))).view(len(logits), -1)


def minimisers(
    loss: "partial[Any]", posteriors: Sequence[Sequence[float]], *, convex: bool
) -> Logits:
    """Row for row the outputs at which sum_y P(y) loss(z, y) is least for a posterior P.

    Found numerically in float64, from the best start (of a loss that is not convex, from the
    best three that order the classes differently): by L-BFGS and, where that ends at a kink
    among a few classes, by the simplex of Nelder and Mead. No output is searched beyond LIMIT.
    """
    starts = _starts(len(posteriors[0]))
    regions = [torch.arange(len(starts))] if convex else _by_order(starts)
    each = by_label(loss, starts, torch.arange(starts.shape[1]))
    found = []
    for posterior in posteriors:
        weights = torch.tensor(posterior, dtype=torch.float64)
        risk = each @ weights
        best = sorted((region[risk[region].argmin()] for region in regions), key=risk.__getitem__)
        found.append(_descend(loss, weights, [starts[row].numpy() for row in best[:TRIES]]))
    return torch.tensor(np.array(found))


def _starts(c: int) -> Logits:
    """All combinations for a few classes; for many, one output unlike the others."""
    if c <= FEW:
        points = torch.tensor(list(itertools.product(STARTS, repeat=c)), dtype=torch.float64)
    else:
        corner = torch.eye(c, dtype=torch.float64)[[0, c - 1]]
        points = torch.cat([value * corner for value in STARTS])
    return points + NO_TIES * torch.arange(c) / c


def _by_order(starts: Logits) -> list[Index]:
    """Which rows put the classes in the same order."""
    orders, which = starts.argsort(dim=1).unique(dim=0, return_inverse=True)  # type: ignore[no-untyped-call]
    return [(which == order).nonzero().squeeze(1) for order in range(len(orders))]


def _descend(loss: "partial[Any]", weights: Tensor, starts: list[Any]) -> Any:
    labels = torch.arange(len(weights))

    def expected(logits: Tensor) -> Tensor:
        return by_label(loss, logits[None], labels)[0] @ weights

    def risk(z: Any) -> float:  # a tensor is refused by SciPy 1.18
        return float(expected(torch.as_tensor(z)))

    def slope(z: Any) -> Any:
        logits = torch.tensor(z, requires_grad=True)
        return torch.autograd.grad(expected(logits), logits)[0].numpy()

    precise = {"ftol": 1e-16, "gtol": 1e-12, "maxfun": 150}
    bounds = [(-LIMIT, LIMIT)] * len(weights)
    ends = [
        minimize(risk, start, jac=slope, bounds=bounds, method="L-BFGS-B", options=precise)
        for start in starts
    ]
    smooth = min(ends, key=lambda end: float(end.fun))
    free = np.abs(smooth.x) < LIMIT
    if len(weights) > FEW or np.abs(slope(smooth.x)[free]).max(initial=0) < FLAT:
        return smooth.x
    precise = {"xatol": 1e-9, "fatol": 1e-15, "maxfev": 1000}
    kink = minimize(risk, smooth.x, bounds=bounds, method="Nelder-Mead", options=precise)
    return kink.x if kink.fun < smooth.fun else smooth.x
