"""The labels that training sees, where people voted on the class of an image: votes or majority."""

from collections.abc import Callable

import torch
from omegaconf import DictConfig
from torch import Tensor

from xent_bench.config.schema import TrainingTarget
from xent_bench.config.targets import Kind, encoder
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits
from xent_bench.types import ClassCounts


def seen_labels(
    config: DictConfig, kind: Kind, data: ImageSet, splits: Splits, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """The function that encodes labels as training sees them, in the kind that the loss takes.

    For a loss that takes an index it is the majority also where all votes of train agree: nothing
    is lost there, whatever the labels of test are.
    """
    agree = kind == "Index" and data.is_unanimous(splits.train)
    target = TrainingTarget.majority if agree else config.target
    return encoder(kind, len(data.classes), device, target)


def seen_counts(config: DictConfig, data: ImageSet, splits: Splits) -> ClassCounts:
    """The number of train's images in each class (c,), by the labels that training sees."""
    if config.target is TrainingTarget.majority:
        return data.index[splits.train].bincount(minlength=len(data.classes))
    return data.class_counts(splits.train)
