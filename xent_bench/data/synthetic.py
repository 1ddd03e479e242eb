"""Noisy copies of one random pattern a class: any size, any number of classes, in no time."""

from typing import Literal

import torch
from torch import Tensor

from xent_bench.data.augment import Augmentation
from xent_bench.data.image_set import ImageSet
from xent_bench.randomness import generator
from xent_bench.ranges import NaturalNumber, Positive, PositiveInt
from xent_bench.types import Distribution, Images, Index


def synthetic(
    *,
    n: PositiveInt = 2000,
    classes: PositiveInt = 10,
    channels: PositiveInt = 1,
    size: PositiveInt = 8,
    noise: Positive = 2.0,
    flip: bool = False,
    crop: NaturalNumber = 0,
    labels: Literal["drawn", "posterior"] = "drawn",
) -> ImageSet:
    """Pixels pattern + noise x standard normal, with pattern standard normal too, as uint8.

    The same for every seed of a run: the task is part of the data, not of the training. The label
    of an image is the class whose pattern it was made of, or all of p(y|x).
    """
    pattern, rng = _patterns(n, classes, channels, size)
    made_of = torch.arange(n) % classes
    pixels = pattern[made_of] + noise * torch.randn(n, channels, size, size, generator=rng)
    grey = 127.5 + _contrast(noise) * pixels
    images = grey.round().clamp(0, 255).to(torch.uint8)

    def truth(ids: Index) -> Distribution:
        return posterior(images[ids], n=n, classes=classes, noise=noise)

    return ImageSet(
        images,
        made_of if labels == "drawn" else truth(torch.arange(n)),
        classes=tuple(f"class {label}" for label in range(classes)),
        augmentation=Augmentation(flip, crop),
        posterior=truth,
    )


def posterior(images: Images, *, n: int, classes: int, noise: float) -> Distribution:
    """p(y | x) of each image of `synthetic`, made with these arguments: exact, in float64.

    Classes are equally frequent (n a multiple of them). Each pixel is normal, scaled, rounded and
    cut at 0 and 255: its probability is that of all values which round to it.
    """
    _, channels, size, _ = images.shape
    pattern, _ = _patterns(n, classes, channels, size)
    contrast = _contrast(noise)
    values = images.double()
    low = torch.where(images == 0, -torch.inf, values - 0.5)
    high = torch.where(images == 255, torch.inf, values + 0.5)
    log_p = []
    for mean in 127.5 + contrast * pattern.double():
        ends = [(end - mean) / (contrast * noise) for end in (low, high)]
        log_p.append(_log_normal_between(*ends).flatten(1).sum(dim=1))
    return torch.stack(log_p, dim=1).softmax(dim=1)


def _patterns(n: int, classes: int, channels: int, size: int) -> tuple[Tensor, torch.Generator]:
    """One a class, and the generator for what comes after."""
    rng = generator(0, f"synthetic {n} {classes} {channels} {size}")
    return torch.randn(classes, channels, size, size, generator=rng), rng


def _contrast(noise: float) -> float:
    """Shades of grey a unit: three deviations fit."""
    return 127.5 / (3 * (1 + noise))


def _log_normal_between(a: Tensor, b: Tensor) -> Tensor:
    """log(Phi(b) - Phi(a)) for a < b, on the side where both are small."""
    flipped = a + b > 0
    a, b = torch.where(flipped, -b, a), torch.where(flipped, -a, b)
    above, below = torch.special.log_ndtr(b), torch.special.log_ndtr(a)
    found: Tensor = above + torch.log1p(-(below - above).exp())
    return found
