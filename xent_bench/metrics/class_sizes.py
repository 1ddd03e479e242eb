"""Sizes of classes: which are frequent in train and which are rare, and whether test differs."""

from typing import Literal, TypeAlias

import numpy as np

from xent_bench.arrays import Target, is_soft
from xent_bench.metrics.accuracy import PerClass

UNEVEN = 2  # times as many images: from here on class sizes matter
Group: TypeAlias = Literal["many", "medium", "few"]
GROUPS: tuple[Group, ...] = ("many", "medium", "few")
# above the first many, below the second few: the limits of Liu et al., 2019, arXiv:1904.05160, for
# ImageNet-LT, of 1,280 to 5 images a class
MANY, FEW = 100, 20


def class_counts(target: Target, classes: int) -> PerClass:
    """The number of images of each class; for soft labels the sum of their rows."""
    if is_soft(target):
        sums: PerClass = target.astype(np.float64).sum(axis=0)
        return sums
    return np.bincount(target, minlength=classes).astype(np.float64)


def frequencies(counts: PerClass) -> PerClass:
    """The share of each class, above 0: if a class has no image, all get half an image more."""
    if not (counts > 0).all():
        counts = counts + 0.5
    shares: PerClass = counts / counts.sum()
    return shares


def is_uneven(counts: PerClass) -> bool:
    """Whether the largest class has at least twice the images of the smallest."""
    return bool(counts.max() >= UNEVEN * counts.min())


def differ(counts: PerClass, others: PerClass) -> bool:
    """Whether a class is at least twice as frequent among some images as among others."""
    ratio = frequencies(counts) / frequencies(others)
    return bool(max(ratio.max(), (1 / ratio).max()) >= UNEVEN)


def groups_of(counts: PerClass) -> list[Group]:
    """The group of each class: a third of the classes each, by their images in train.

    Classes of one size are in one group, that of the middle one among them. So two sizes, as of
    imbalance=step, make two groups: many and few.
    """
    larger = (counts[:, None] < counts).sum(axis=1)
    alike = (counts[:, None] == counts).sum(axis=1)
    middle = 3 * (larger + alike / 2)
    c = len(counts)
    return ["many" if place <= c else "few" if place >= 2 * c else "medium" for place in middle]


def published_group(count: float) -> Group:
    """The group of a class by the limits of 100 and 20 images, which suit ImageNet-LT."""
    return "many" if count > MANY else "few" if count < FEW else "medium"
