"""What a loss is like, computed from its function."""

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
    one_above_the_rest,
    top_class,
)
from xent_bench.config.targets import Kind, target_kind
from xent_bench.links import link_of
from xent_bench.offer import offer


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
    with threadpool_limits(1):  # the steps are small: threads would wait for one another
        return _certify(loss, classes)


def _certify(loss: "partial[Any]", classes: int) -> Certificate:
    many = offer(loss, class_counts=long_tail(classes))
    three = offer(loss, class_counts=long_tail(3))
    convex = geometry.is_convex(many, classes) and geometry.is_convex(three, 3)
    learnt = [
        *learn(three, OF_THREE, convex=convex),
        *learn(many, one_above_the_rest(classes), convex=convex),
    ]
    stated = learnt[0].probabilities
    return Certificate(
        target=target_kind(loss.func),
        link=link_of(loss).func.__name__,
        at_uniform=geometry.at_uniform(many, classes),
        gradient=geometry.relative_gradient(many, classes),
        supremum=geometry.supremum(many, classes),
        symmetric=geometry.is_symmetric(many, classes),
        convex=convex,
        minimiser=None if stated is None else tuple(stated.tolist()),
        calibration=calibration(learnt),
        top_class=top_class(learnt),
        largest_float32=geometry.largest(many, classes, torch.float32),
        largest_bfloat16=geometry.largest(many, classes, torch.bfloat16),
    )
