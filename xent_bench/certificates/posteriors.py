"""Calibration and top class of what a loss learns for images whose label is uncertain."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from xent_bench.certificates.population import long_tail, minimisers
from xent_bench.links import link_of

Calibration: TypeAlias = Literal["proper", "balanced", "over", "under", "either"]
TopClass: TypeAlias = Literal["yes", "majority", "no"]

# Posteriors P(y) of an image of three classes. The first one is shown in the table. They have a
# majority for the most frequent class, a majority for the rarest, no majority, two nearly equal
# classes (twice), and an almost certain label (twice).
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
EXACT = 1e-5  # probabilities that differ by less than this count as equal


class Learnt(NamedTuple):
    """Minimiser of the expected loss for an image with this posterior."""

    posterior: Tensor
    outputs: Tensor
    probabilities: Tensor | None  # of these outputs by the loss's link; None if it has none


def learn(
    loss: "partial[Any]", posteriors: Sequence[Sequence[float]], *, convex: bool
) -> list[Learnt]:
    """Find what the loss learns for each of these posteriors.

    ValueError if the probabilities of the loss's link do not sum to 1.
    """
    outputs = minimisers(loss, posteriors, convex=convex)
    log_p = link_of(loss)(outputs.numpy())
    p = None if log_p is None else torch.from_numpy(log_p).exp()
    if p is not None and not bool(((p.sum(dim=1) - 1).abs() < 1e-4).all()):
        raise ValueError("expected its link's probabilities to sum to 1")
    return [
        Learnt(
            torch.tensor(posterior, dtype=torch.float64),
            outputs[row],
            None if p is None else p[row],
        )
        for row, posterior in enumerate(posteriors)
    ]


def one_class_ahead(classes: int) -> list[tuple[float, ...]]:
    """Posteriors where the first class is likelier than the others, which are equally likely.

    Its probability is 1.5 / classes, 3 / classes and 1/2, as far as that is possible.
    """
    tops = [top for top in (1.5 / classes, 3 / classes, 0.5) if 1 / classes < top < 1]
    return [(top, *[(1 - top) / (classes - 1)] * (classes - 1)) for top in tops]


def calibration(learnt: list[Learnt]) -> Calibration | None:
    """Classify how learnt probabilities relate to the posteriors; None if there are none.

    'proper': equal, as for a strictly proper loss; 'balanced': equal to the posteriors of balanced
    classes; else whether the likeliest class gets too much ('over'), too little ('under') or,
    depending on the posterior, either ('either').
    """
    probabilities = [image.probabilities for image in learnt if image.probabilities is not None]
    if not probabilities:
        return None
    pairs = list(zip(probabilities, (image.posterior for image in learnt), strict=True))
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
    """Whether the likeliest class gets the largest output: always, given a majority, or not.

    Two equal outputs are not an answer.
    """

    def is_right(image: Learnt) -> bool:
        first, second = image.outputs.topk(2).values
        right = image.outputs.argmax() == image.posterior.argmax()
        return bool(right and first - second > 1e-4)

    if all(is_right(image) for image in learnt):
        return "yes"
    with_majority = [image for image in learnt if image.posterior.max() > 0.5]
    return "majority" if all(is_right(image) for image in with_majority) else "no"
