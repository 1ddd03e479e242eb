"""Targets: the kind that a loss takes, and labels encoded as that kind."""

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, TypeAlias, get_type_hints

import torch
from torch import Tensor
from torch.nn import functional as F

from xent_bench.config.configure import ConfigError
from xent_bench.config.schema import TrainingTarget
from xent_bench.types import Distribution, Index

Kind: TypeAlias = Literal["Index", "Distribution"]


@cache  # reading annotations takes as long as a small loss
def target_kind(loss: Callable[..., Any]) -> Kind:
    """The kind of target that a loss takes, by its own annotation of `target`."""
    hint = get_type_hints(loss).get("target")
    if hint == Index:
        return "Index"
    if hint == Distribution:
        return "Distribution"
    raise ConfigError(
        "loss._target_",
        f"expected {loss.__name__}'s target to be annotated Index or Distribution, got {hint}",
    )


def encode(
    labels: Tensor, kind: Kind, classes: int, target: TrainingTarget = TrainingTarget.votes
) -> Tensor:
    """Encode labels as the target of a loss: integers become one-hot rows for a Distribution.

    For the target `majority` soft labels are replaced by the likeliest class of each row, the first
    of these in a tie. Else they stay as they are: ConfigError where the loss takes an Index.
    """
    if labels.is_floating_point():
        if target is TrainingTarget.majority:
            return encode(labels.argmax(dim=1), kind, classes)
        if kind == "Index":
            raise ConfigError(
                "loss",
                "takes the index of the true class, but this data set's labels are soft; "
                "choose a loss that takes a distribution, ce for one, or target=majority, which "
                "trains on the likeliest class",
            )
        return labels.float()
    return F.one_hot(labels, classes).float() if kind == "Distribution" else labels


def encoder(
    kind: Kind,
    classes: int,
    device: torch.device,
    target: TrainingTarget = TrainingTarget.votes,
) -> Callable[[Tensor], Tensor]:
    """A fast `encode` for many batches: one-hot rows are looked up in a table."""
    one_hot = torch.eye(classes, device=device)

    def encoded(labels: Tensor) -> Tensor:
        if kind == "Distribution" and not labels.is_floating_point():
            return one_hot.index_select(0, labels)
        return encode(labels, kind, classes, target)

    return encoded
