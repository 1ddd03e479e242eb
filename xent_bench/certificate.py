"""What a loss is like, computed from its function: nothing here is typed in."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from xent_bench.links import link_of
from xent_bench.offer import offer
from xent_bench.population import at_labels, by_label, found_probabilities, minimisers
from xent_bench.targets import Kind, target_kind
from xent_bench.types import ClassCounts, Index, Logits, PerExample

SPREAD = 0.3  # standard deviation of outputs at initialisation; the nets here have 0.07 to 0.73

# Posteriors P(y) of an uncertain image, the stated one first: a majority for the commonest class,
# for the rarest, none at all, and two of images that are nearly clear.
STATED = (0.6, 0.3, 0.1)
POSTERIORS = (
    STATED,
    (0.1, 0.3, 0.6),
    (0.4, 0.35, 0.25),
    (0.98, 0.01, 0.01),
    (1 - 2e-7, 1e-7, 1e-7),
)
EXACT = 1e-5  # probabilities nearer than this are the same

Calibration = Literal["proper", "balanced", "over", "under", "either"]
TopClass = Literal["yes", "majority", "no"]


@dataclass(frozen=True)
class Certificate:
    """The properties of one loss for c classes; `None` where it has no probabilities."""

    target: Kind
    link: str
    at_uniform: float  # the value at equal outputs, mean over labels
    gradient: float  # its norm at initialisation, relative to that of cross-entropy
    supremum: float  # over all outputs and labels; infinity where it is not bounded
    symmetric: bool  # the sum over all labels is constant: robust to symmetric label noise
    convex: bool  # in the outputs
    minimiser: tuple[float, ...] | None  # of the expected loss for the stated posterior
    calibration: Calibration | None  # of the minimisers for all posteriors
    top_class: TopClass  # whether they put the likeliest class first: always, given a majority
    largest_float32: float  # outputs up to this size leave value and gradient finite
    largest_bfloat16: float


def certify(loss: "partial[Any]", classes: int = 10) -> Certificate:
    """Every property of a configured loss, in float64 but for the last two."""
    many = offer(loss, class_counts=long_tail(classes))
    three = offer(loss, class_counts=long_tail(len(STATED)))
    outputs = minimisers(three, POSTERIORS)
    probabilities = found_probabilities(three, outputs)
    return Certificate(
        target=target_kind(loss.func),
        link=link_of(loss).func.__name__,
        at_uniform=_at_uniform(many, classes),
        gradient=_relative_gradient(many, classes),
        supremum=_supremum(many, classes),
        symmetric=_is_symmetric(many, classes),
        convex=_is_convex(many, classes) and _is_convex(three, len(STATED)),
        minimiser=None if probabilities is None else tuple(probabilities[0].tolist()),
        calibration=None if probabilities is None else _calibration(probabilities),
        top_class=_top_class(outputs),
        largest_float32=_largest(many, classes, torch.float32),
        largest_bfloat16=_largest(many, classes, torch.bfloat16),
    )


def long_tail(classes: int) -> ClassCounts:
    """The class counts to assume: 1000 of the first, falling geometrically to 10 of the last."""
    return (1000 * 0.01 ** torch.linspace(0, 1, classes)).round().long()


def _draw(n: int, classes: int) -> Logits:
    """Standard normal outputs, the same at every call."""
    rng = torch.Generator().manual_seed(0)
    return torch.randn(n, classes, generator=rng, dtype=torch.float64)


def _some(classes: int) -> Index:
    """Labels to try, the commonest and the rarest among them; all would be many of 1000."""
    return torch.tensor(sorted({0, 1, classes // 2, classes - 1}))


def _at_uniform(loss: "partial[Any]", classes: int) -> float:
    """The mean over labels, drawn as frequently as they are counted."""
    frequency = long_tail(classes).double()
    value = by_label(loss, torch.zeros(1, classes).double(), torch.arange(classes))[0]
    return ((value @ frequency) / frequency.sum()).item()


def _relative_gradient(loss: "partial[Any]", classes: int) -> float:
    n = 2000
    logits = (SPREAD * _draw(n, classes)).requires_grad_()
    counts = long_tail(classes).double()
    quantiles = (torch.arange(n).double() + 0.5) / n  # labels in their shares, without chance
    labels = torch.searchsorted(counts.cumsum(0) / counts.sum(), quantiles)

    def mean_norm(value: PerExample) -> float:
        (gradient,) = torch.autograd.grad(value.sum(), logits)
        return float(gradient.norm(dim=1).mean())

    of_cross_entropy = mean_norm(F.cross_entropy(logits, labels, reduction="none"))
    return mean_norm(at_labels(loss, logits, labels)) / of_cross_entropy


def _supremum(loss: "partial[Any]", classes: int) -> float:
    """Unbounded is what still grows between outputs of 1e8 and of 1e10."""
    labels = _some(classes)
    corner = torch.eye(classes, dtype=torch.float64)[labels]
    pairs = (corner[:, None] - corner[None]).flatten(0, 1)
    directions = torch.cat([corner, -corner, pairs, _draw(100, classes)])
    highest = [
        by_label(loss, scale * directions, labels).max().item() for scale in (1, 10, 1e8, 1e10)
    ]
    return float("inf") if highest[3] > 1.01 * highest[2] else max(highest)


def _is_symmetric(loss: "partial[Any]", classes: int) -> bool:
    total = by_label(loss, 3 * _draw(20, classes), torch.arange(classes)).sum(dim=1)
    return bool((total - total.mean()).abs().max() < 1e-9 * total.mean().abs())


def _is_convex(loss: "partial[Any]", classes: int) -> bool:
    """No second difference is negative, at many places, in many directions, near and far."""
    labels = _some(classes)
    places, steps = _draw(800, classes).view(2, 400, classes)
    for scale in (0.3, 1.0, 3.0, 10.0, 30.0):
        for stride in (0.01 * scale, 0.1 * scale, scale):
            left, middle, right = (
                by_label(loss, scale * places + way * stride * steps, labels) for way in (-1, 0, 1)
            )
            rounding = 1e-12 * (1 + left.abs() + right.abs() + middle.abs())
            if bool((left + right - 2 * middle < -rounding).any()):
                return False
    return True


def _calibration(found: Tensor) -> Calibration:
    """Strictly proper, proper were the classes balanced, or in which way the confidence errs."""
    posteriors = torch.tensor(POSTERIORS, dtype=torch.float64)
    balanced = posteriors / long_tail(len(STATED))
    balanced /= balanced.sum(dim=1, keepdim=True)
    if bool((found - posteriors).abs().max() < EXACT):
        return "proper"
    if bool((found - balanced).abs().max() < EXACT):
        return "balanced"
    top = posteriors.argmax(dim=1, keepdim=True)
    excess = (found - posteriors).gather(1, top)
    if bool((excess > -EXACT).all()):
        return "over"
    return "under" if bool((excess < EXACT).all()) else "either"


def _top_class(outputs: Logits) -> TopClass:
    """A tie is no answer."""
    posteriors = torch.tensor(POSTERIORS, dtype=torch.float64)
    first, second = outputs.topk(2, dim=1).values.unbind(dim=1)
    right = (outputs.argmax(dim=1) == posteriors.argmax(dim=1)) & (first - second > 1e-4)
    if bool(right.all()):
        return "yes"
    majority = posteriors.amax(dim=1) > 0.5
    return "majority" if bool(right[majority].all()) else "no"


def _largest(loss: "partial[Any]", classes: int, dtype: torch.dtype) -> float:
    """The largest power of two up to which outputs of either sign leave everything finite."""
    labels = _some(classes)
    corner = torch.eye(classes)[labels]
    ones = torch.ones(1, classes)
    patterns = torch.cat([corner, -corner, corner - corner.roll(1, 0), ones, -ones])
    powers = 2.0 ** torch.arange(128)
    logits = (powers[:, None, None] * patterns).flatten(0, 1).to(dtype).requires_grad_()
    value = by_label(loss, logits, labels)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    finite = value.isfinite().all(dim=1) & gradient.isfinite().all(dim=1)
    so_far = finite.view(len(powers), -1).all(dim=1).cumprod(dim=0)
    return powers[int(so_far.sum()) - 1].item() if so_far[0] else 0.0
