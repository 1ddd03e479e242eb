"""Noisy copies of one random pattern a class: any size, any number of classes, in no time."""

import torch

from xent_bench.data.augment import Augmentation
from xent_bench.data.image_set import ImageSet
from xent_bench.randomness import generator
from xent_bench.ranges import NaturalNumber, Positive, PositiveInt


def synthetic(
    *,
    n: PositiveInt = 2000,
    classes: PositiveInt = 10,
    channels: PositiveInt = 1,
    size: PositiveInt = 8,
    noise: Positive = 2.0,
    flip: bool = False,
    crop: NaturalNumber = 0,
) -> ImageSet:
    """Pixels pattern + noise x standard normal, with pattern standard normal too, as uint8.

    The same for every seed of a run: the task is part of the data, not of the training.
    """
    rng = generator(0, f"synthetic {n} {classes} {channels} {size}")
    pattern = torch.randn(classes, channels, size, size, generator=rng)
    labels = torch.arange(n) % classes
    pixels = pattern[labels] + noise * torch.randn(n, channels, size, size, generator=rng)
    grey = 127.5 + 127.5 / (3 * (1 + noise)) * pixels  # three deviations fit
    return ImageSet(
        grey.round().clamp(0, 255).to(torch.uint8),
        labels,
        classes=tuple(f"class {label}" for label in range(classes)),
        augmentation=Augmentation(flip, crop),
    )
