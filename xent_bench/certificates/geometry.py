"""Geometry of a loss as a function of the outputs: value, slope, bound, curvature, overflow."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from xent_bench.certificates.population import at_labels, by_label, least_value, long_tail
from xent_bench.types import Index, Logits, PerExample

ROUNDING = 1e-13  # rounding error of a curvature in float64, relative to values and slopes
NOTHING = 1e-9  # a smaller least value is that of a search which ends near 0
SPREAD = 0.3  # standard deviation of outputs at initialisation; the nets here have 0.07 to 0.73


def at_uniform(loss: "partial[Any]", classes: int) -> float:
    """Value of the loss at equal outputs, mean over labels with the frequencies of `long_tail`.

    ValueError if it is not finite.
    """
    frequency = long_tail(classes).double()
    value = by_label(loss, torch.zeros(1, classes).double(), torch.arange(classes))[0]
    mean = ((value @ frequency) / frequency.sum()).item()
    if not math.isfinite(mean):
        raise ValueError(f"expected a finite value at equal outputs, got {mean}")
    return mean


def relative_gradient(loss: "partial[Any]", classes: int) -> float:
    """Mean norm of the gradient at small outputs, over that of cross-entropy.

    Labels have the frequencies of `long_tail`; outputs have the standard deviation SPREAD.
    """
    n = 2000
    logits = (SPREAD * _draw(n, classes)).requires_grad_()
    counts = long_tail(classes).double()
    quantiles = (
        torch.arange(n).double() + 0.5
    ) / n  # gives each label its share of the examples, without randomness
    labels = torch.searchsorted(counts.cumsum(0) / counts.sum(), quantiles)

    def mean_norm(value: PerExample) -> float:
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        return float(gradient.norm(dim=1).mean())

    of_cross_entropy = mean_norm(F.cross_entropy(logits, labels, reduction="none"))
    return mean_norm(at_labels(loss, logits, labels)) / of_cross_entropy


def infimum(loss: "partial[Any]", classes: int) -> float:
    """Least value over outputs of at most LIMIT and one-hot labels; 0 where rounding hides it."""
    least = min(
        least_value(
            lambda z, label=label: at_labels(loss, z[None], label[None])[0],  # type: ignore[misc]
            F.one_hot(label, classes).double(),
        )
        for label in _test_labels(classes)
    )
    return least if abs(least) > NOTHING else 0.0


def supremum(loss: "partial[Any]", classes: int) -> float:
    """Largest value over outputs and labels; infinity if it grows between outputs 1e8 and 1e10."""
    labels = _test_labels(classes)
    corner = torch.eye(classes, dtype=torch.float64)[labels]
    pairs = (corner[:, None] - corner[None]).flatten(0, 1)
    directions = torch.cat([corner, -corner, pairs, _draw(100, classes)])
    highest = [
        by_label(loss, scale * directions, labels).max().item() for scale in (1, 10, 1e8, 1e10)
    ]
    return float("inf") if highest[3] > 1.01 * highest[2] else max(highest)


def is_symmetric(loss: "partial[Any]", classes: int) -> bool:
    """Whether the sum over all labels is constant."""
    values = by_label(loss, 3 * _draw(20, classes), torch.arange(classes))
    total = values.sum(dim=1)
    return bool((total - total.mean()).abs().max() <= 1e-9 * values.abs().max())


def is_convex(loss: "partial[Any]", classes: int) -> bool:
    """Whether no curvature is negative beyond rounding, at many places and in many directions."""
    labels = _test_labels(classes)
    random = _draw(150, classes)
    spikes = torch.linspace(-40, 40, 41).double()[:, None, None] * torch.eye(classes)[labels]
    places = [scale * random for scale in (0.3, 1, 3, 10, 30)] + [spikes.flatten(0, 1)]
    directions = [_draw(1, classes)[0], *torch.eye(classes).double()[labels]]
    return all(
        bool((_bend(loss, place, direction, labels) > -ROUNDING).all())
        and bool((_curvature(loss, place, direction, labels) > -ROUNDING).all())
        for place in places
        for direction in directions
    )


def largest(loss: "partial[Any]", classes: int, dtype: torch.dtype) -> float:
    """Largest power of two such that outputs up to it leave value and gradient finite."""
    labels = _test_labels(classes)
    corner = torch.eye(classes)[labels]
    ones = torch.ones(1, classes)
    patterns = torch.cat([corner, -corner, corner - corner.roll(1, 0), ones, -ones])
    powers = 2.0 ** torch.arange(128)
    logits = (powers[:, None, None] * patterns).flatten(0, 1).to(dtype).requires_grad_()
    value = by_label(loss, logits, labels)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    finite = value.isfinite().all(dim=1) & gradient.isfinite().all(dim=1)
    finite_up_to = finite.view(len(powers), -1).all(dim=1).cumprod(dim=0)
    return powers[int(finite_up_to.sum()) - 1].item() if finite_up_to[0] else 0.0


def _draw(n: int, classes: int) -> Logits:
    """Draw standard normal outputs (n, classes), the same at every call."""
    rng = torch.Generator().manual_seed(0)
    return torch.randn(n, classes, generator=rng, dtype=torch.float64)


def _test_labels(classes: int) -> Index:
    """Labels to test, among them the most and the least frequent: all of 1000 would be too many."""
    return torch.tensor(sorted({0, 1, classes // 2, classes - 1}))


def _bend(loss: "partial[Any]", place: Logits, step: Tensor, labels: Index) -> Tensor:
    """Second differences along a step, relative to the values; they also show kinks and jumps."""
    bends = []
    for stride in (0.03, 0.3, 3.0):
        left, middle, right = (
            by_label(loss, place + way * stride * step, labels) for way in (-1, 0, 1)
        )
        size = 1 + left.abs() + right.abs() + middle.abs()
        bends.append((left + right - 2 * middle) / (10 * size))
    return torch.cat(bends)


def _curvature(loss: "partial[Any]", place: Logits, direction: Tensor, labels: Index) -> Tensor:
    """Second derivatives along a direction, relative to the slope; exact where values cancel."""
    place = place.clone().requires_grad_()
    values = [at_labels(loss, place, label.expand(len(place))) for label in labels]
    curvatures = []
    for value in values:
        (slope,) = torch.autograd.grad(value.sum(), place, create_graph=True)
        if slope.requires_grad:
            (bend,) = torch.autograd.grad((slope @ direction).sum(), place, materialize_grads=True)
            curvatures.append(bend @ direction / (1 + slope.detach().abs().amax(dim=1)))
    return torch.cat(curvatures) if curvatures else torch.zeros(1)
