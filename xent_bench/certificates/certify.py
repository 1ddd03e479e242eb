"""Certificate of a loss: properties that are computed from its function."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from xent_bench.certificates import geometry
from xent_bench.certificates.population import long_tail
from xent_bench.certificates.posteriors import (
    OF_THREE,
    Calibration,
    TopClass,
    calibration,
    learn,
    one_class_ahead,
    top_class,
)
from xent_bench.config.targets import Kind, target_kind
from xent_bench.links import link_of
from xent_bench.offer import offer


@dataclass(frozen=True)
class Certificate:
    """Properties of one loss for c classes; None for what needs probabilities if it has none."""

    target: Kind
    link: str
    at_uniform: float  # value at equal outputs, mean over labels
    gradient: float  # norm of the gradient at initialisation, over that of cross-entropy
    infimum: float  # the least value for a one-hot label
    supremum: float  # over all outputs and labels; infinity if the loss is not bounded
    symmetric: bool  # the sum over all labels is constant: robust to symmetric label noise
    convex: bool  # in the outputs
    minimiser: tuple[float, ...] | None  # learnt probabilities for the posterior STATED
    calibration: Calibration | None  # of the learnt probabilities for all posteriors
    top_class: TopClass  # whether the likeliest class gets the largest output
    largest_float32: float  # outputs up to this size leave value and gradient finite
    largest_bfloat16: float


def certify(loss: "partial[Any]", classes: int = 10) -> Certificate:
    """Compute all properties of a configured loss, in float64 except the two named by a dtype."""
    with threadpool_limits(1):  # the operations are small: threads would only wait for each other
        return _certify(loss, classes)


def _certify(loss: "partial[Any]", classes: int) -> Certificate:
    many = offer(loss, class_counts=long_tail(classes))
    three = offer(loss, class_counts=long_tail(3))
    convex = geometry.is_convex(many, classes) and geometry.is_convex(three, 3)
    learnt = [
        *learn(three, OF_THREE, convex=convex),
        *learn(many, one_class_ahead(classes), convex=convex),
    ]
    stated = learnt[0].probabilities
    return Certificate(
        target=target_kind(loss.func),
        link=link_of(loss).func.__name__,
        at_uniform=geometry.at_uniform(many, classes),
        gradient=geometry.relative_gradient(many, classes),
        infimum=geometry.infimum(many, classes),
        supremum=geometry.supremum(many, classes),
        symmetric=geometry.is_symmetric(many, classes),
        convex=convex,
        minimiser=None if stated is None else tuple(stated.tolist()),
        calibration=calibration(learnt),
        top_class=top_class(learnt),
        largest_float32=geometry.largest(many, classes, torch.float32),
        largest_bfloat16=geometry.largest(many, classes, torch.bfloat16),
    )
