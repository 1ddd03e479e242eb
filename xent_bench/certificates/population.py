"""Minimisers of the expected loss: what it learns from infinite data on an uncertain image."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from xent_bench.config.targets import encode, target_kind
from xent_bench.types import ClassCounts, Index, Logits, PerExample

# The search for a minimiser starts at outputs with these values.
POSITIVE = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0)
STARTS = (*(-value for value in reversed(POSITIVE)), 0.0, *POSITIVE)
NO_TIES = 0.003  # shift between outputs: at equal outputs a loss may jump; training never has them
LIMIT = 50.0  # largest absolute output: some losses have their minimum at infinity
TRIES = 3  # number of starts from which to descend
FEW_CLASSES = 3  # up to this number of classes, all combinations of STARTS are tried
NEVER = 1e-20  # probability of a class without a share, where its logarithm is taken
FLAT = 1e-7  # a gradient smaller than this counts as zero


def long_tail(classes: int) -> ClassCounts:
    """Assumed class counts: 1000 of the first class, falling geometrically to 10 of the last."""
    return (1000 * 0.01 ** torch.linspace(0, 1, classes)).round().long()


def at_labels(loss: "partial[Any]", logits: Logits, labels: Index) -> PerExample:
    """Value of the loss for each row of logits and its label, encoded as the loss expects it.

    ValueError if the loss does not return one value for each row.
    """
    target = encode(labels, target_kind(loss.func), logits.shape[1])
    value: PerExample = loss(
        logits, target.to(logits.dtype) if target.is_floating_point() else target
    )
    if value.shape != labels.shape:
        got = tuple(value.shape)
        raise ValueError(f"expected one value an example, {tuple(labels.shape)}, got {got}")
    return value


def by_label(loss: "partial[Any]", logits: Logits, labels: Index) -> Tensor:
    """Value of the loss for each row of logits and each label, of shape (n, len(labels))."""
    rows = logits.repeat_interleave(len(labels), dim=0)
    return at_labels(loss, rows, labels.repeat(len(logits))).view(len(logits), -1)


def minimisers(
    loss: "partial[Any]", posteriors: Sequence[Sequence[float]], *, convex: bool
) -> Logits:
    """Outputs z that minimise the expected loss sum_y P(y) loss(z, y), a row for each posterior P.

    The search is numerical, in float64, with outputs in [-LIMIT, LIMIT]. It starts at the best of
    `_starts`; for a loss that is not convex, at the best TRIES that order the classes differently.
    It uses L-BFGS and, if that ends at a kink and there are few classes, the simplex method of
    Nelder and Mead.
    """
    starts = _starts(len(posteriors[0]))
    regions = [torch.arange(len(starts))] if convex else _by_order(starts)
    values = by_label(loss, starts, torch.arange(starts.shape[1]))
    outputs = []
    for posterior in posteriors:
        weights = torch.tensor(posterior, dtype=torch.float64)
        risk = values @ weights
        best = sorted((region[risk[region].argmin()] for region in regions), key=risk.__getitem__)
        expected = partial(_expected, loss=loss, weights=weights)
        outputs.append(descend(expected, [starts[row] for row in best[:TRIES]]))
    return torch.tensor(np.array(outputs))


def least_value(value: Callable[[Tensor], Tensor], label: Tensor) -> float:
    """The least value over outputs in [-LIMIT, LIMIT] of a loss at one label, shares (c,).

    `value` maps outputs (c,) in float64 to the loss. The search starts towards and away from the
    label, and at its logarithms, where a proper loss has its minimum.
    """
    starts = [start * label for start in STARTS] + [label.clamp_min(NEVER).log()]
    starts.sort(key=lambda start: float(value(start)))
    end = descend(value, starts[:TRIES])
    return min(float(value(torch.as_tensor(end))), float(value(starts[0])))


def _starts(c: int) -> Logits:
    """Outputs at which to start: all combinations of STARTS for few classes.

    For many classes, the output of the first or of the last class differs from the others.
    """
    if c <= FEW_CLASSES:
        points = torch.tensor(list(itertools.product(STARTS, repeat=c)), dtype=torch.float64)
    else:
        corner = torch.eye(c, dtype=torch.float64)[[0, c - 1]]
        points = torch.cat([value * corner for value in STARTS])
    return points + NO_TIES * torch.arange(c) / c


def _by_order(starts: Logits) -> list[Index]:
    """Group the rows of `starts` that put the classes in the same order; returns row numbers."""
    orders, order_of_row = starts.argsort(dim=1).unique(dim=0, return_inverse=True)  # type: ignore[no-untyped-call]
    return [(order_of_row == order).nonzero().squeeze(1) for order in range(len(orders))]


def _expected(logits: Tensor, *, loss: "partial[Any]", weights: Tensor) -> Tensor:
    """The expected loss of outputs (c,), over labels with these probabilities (c,)."""
    return by_label(loss, logits[None], torch.arange(len(weights)))[0] @ weights


def descend(value: Callable[[Tensor], Tensor], starts: Sequence[Tensor]) -> Any:
    """Outputs (c,) with the smallest value that the search finds from these starts.

    `value` maps outputs in float64 to a scalar that can be differentiated.
    """
    classes = len(starts[0])

    def risk(z: Any) -> float:  # SciPy 1.18 refuses a tensor
        return float(value(torch.as_tensor(z)))

    def slope(z: Any) -> Any:
        logits = torch.tensor(z, requires_grad=True)
        return torch.autograd.grad(value(logits), logits)[0].numpy()

    precise = {"ftol": 1e-16, "gtol": 1e-12, "maxfun": 150}
    bounds = [(-LIMIT, LIMIT)] * classes
    ends = [
        minimize(risk, start.numpy(), jac=slope, bounds=bounds, method="L-BFGS-B", options=precise)
        for start in starts
    ]
    smooth = min(ends, key=lambda end: float(end.fun))
    free = np.abs(smooth.x) < LIMIT
    if classes > FEW_CLASSES or np.abs(slope(smooth.x)[free]).max(initial=0) < FLAT:
        return smooth.x
    precise = {"xatol": 1e-9, "fatol": 1e-15, "maxfev": 1000}
    kink = minimize(risk, smooth.x, bounds=bounds, method="Nelder-Mead", options=precise)
    return kink.x if kink.fun < smooth.fun else smooth.x
