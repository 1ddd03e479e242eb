"""Synthetic images: one random pattern for each class plus noise; any size, made in an instant."""

from typing import Literal

import torch
from torch import Tensor

from xent_bench.data.augment import Augmentation
from xent_bench.data.image_set import ImageSet
from xent_bench.randomness import generator
from xent_bench.ranges import Moments, NaturalNumber, Positive, PositiveInt
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
    mean: Moments | None = None,
    std: Moments | None = None,
) -> ImageSet:
    """pattern[y] + noise * N(0, 1) for each pixel, scaled to grey values and rounded to uint8.

    Each pattern is a draw of N(0, 1) for each pixel. The images are the same for every seed of a
    run: the seed varies the training, not the task. The label of an image is the class y of its
    pattern or, with labels="posterior", the whole distribution p(y|x). Pixels are normalised by
    `mean` and `std`, in units of 0 to 1, else by train's own moments.
    """
    pattern, rng = _patterns(n, classes, channels, size)
    y = torch.arange(n) % classes
    pixels = pattern[y] + noise * torch.randn(n, channels, size, size, generator=rng)
    grey = 127.5 + _contrast(noise) * pixels
    images = grey.round().clamp(0, 255).to(torch.uint8)

    def truth(ids: Index) -> Distribution:
        return posterior(images[ids], n=n, classes=classes, noise=noise)

    return ImageSet(
        images,
        y if labels == "drawn" else truth(torch.arange(n)),
        classes=tuple(f"class {label}" for label in range(classes)),
        augmentation=Augmentation(flip, crop),
        posterior=truth,
        mean=mean,
        std=std,
    )


def posterior(images: Images, *, n: int, classes: int, noise: float) -> Distribution:
    """p(y|x) of images from `synthetic` with the same arguments: exact, in float64.

    All classes are equally frequent (n must be a multiple of their number). A pixel is a normal
    value that was scaled, rounded and clipped at 0 and 255, so its probability is that of all
    values that round to it.
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
    """The pattern of each class (c, channels, h, w), and the generator that draws the noise."""
    rng = generator(0, f"synthetic {n} {classes} {channels} {size}")
    return torch.randn(classes, channels, size, size, generator=rng), rng


def _contrast(noise: float) -> float:
    """Grey values for each unit of pattern or noise: +-3 (1 + noise) fill the range 0 to 255."""
    return 127.5 / (3 * (1 + noise))


def _log_normal_between(a: Tensor, b: Tensor) -> Tensor:
    """log(Phi(b) - Phi(a)) for a < b, Phi being the standard normal distribution function.

    Computed in the lower tail, where both values are small and their difference keeps its digits.
    """
    flipped = a + b > 0
    a, b = torch.where(flipped, -b, a), torch.where(flipped, -a, b)
    above, below = torch.special.log_ndtr(b), torch.special.log_ndtr(a)
    log_difference: Tensor = above + torch.log1p(-(below - above).exp())
    return log_difference
