"""What a loss makes of images whose label is uncertain: is it calibrated, is it right?"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from xent_bench.certificates.population import long_tail, minimisers
from xent_bench.links import link_of

Calibration: TypeAlias = Literal["proper", "balanced", "over", "under", "either"]
TopClass: TypeAlias = Literal["yes", "majority", "no"]

# Posteriors P(y) of an image of three classes, the stated one first: a majority for the commonest
# class and for the rarest, none at all, close calls, and images that are nearly clear.
STATED = (0.6, 0.3, 0.1)
OF_THREE = (
    STATED,
    (0.1, 0.3, 0.6),
    (0.4, 0.35, 0.25),
    (0.505, 0.494, 0.001),
    (0.494, 0.505, 0.001),
    (0.98, 0.01, 0.01),
    (1 - 2e-7, 1e-7, 1e-7),
)
EXACT = 1e-5  # probabilities nearer than this are the same


class Learnt(NamedTuple):
    """What minimises the expected loss of an image with a posterior."""

    posterior: Tensor
    outputs: Tensor
    probabilities: Tensor | None  # as the loss's link reads the outputs


def learn(
    loss: "partial[Any]", posteriors: Sequence[Sequence[float]], *, convex: bool
) -> list[Learnt]:
    """Row for row what the loss learns of a posterior."""
    outputs = minimisers(loss, posteriors, convex=convex)
    log_p = link_of(loss)(outputs.numpy())
    found = None if log_p is None else torch.from_numpy(log_p).exp()
    if found is not None and not bool(((found.sum(dim=1) - 1).abs() < 1e-4).all()):
        raise ValueError("expected its link's probabilities to sum to 1")
    return [
        Learnt(
            torch.tensor(each, dtype=torch.float64),
            outputs[row],
            None if found is None else found[row],
        )
        for row, each in enumerate(posteriors)
    ]


def one_above_the_rest(classes: int) -> list[tuple[float, ...]]:
    """Posteriors of all classes: all are equally likely but one, from barely more to half."""
    tops = [top for top in (1.5 / classes, 3 / classes, 0.5) if 1 / classes < top < 1]
    return [(top, *[(1 - top) / (classes - 1)] * (classes - 1)) for top in tops]


def calibration(learnt: list[Learnt]) -> Calibration | None:
    """Strictly proper, proper were the classes balanced, or in which way the confidence errs."""
    found = [each.probabilities for each in learnt if each.probabilities is not None]
    if not found:
        return None
    pairs = list(zip(found, (each.posterior for each in learnt), strict=True))
    if all(_is_near(p, posterior) for p, posterior in pairs):
        return "proper"
    if all(_is_near(p, posterior / long_tail(len(p))) for p, posterior in pairs):
        return "balanced"
    excess = [(p - posterior)[posterior.argmax()].item() for p, posterior in pairs]
    if min(excess) > -EXACT:
        return "over"
    return "under" if max(excess) < EXACT else "either"


def _is_near(p: Tensor, weights: Tensor) -> bool:
    return bool((p - weights / weights.sum()).abs().max() < EXACT)


def top_class(learnt: list[Learnt]) -> TopClass:
    """A tie is no answer."""

    def is_right(each: Learnt) -> bool:
        first, second = each.outputs.topk(2).values
        right = each.outputs.argmax() == each.posterior.argmax()
        return bool(right and first - second > 1e-4)

    if all(is_right(each) for each in learnt):
        return "yes"
    majority = [each for each in learnt if each.posterior.max() > 0.5]
    return "majority" if all(is_right(each) for each in majority) else "no"
