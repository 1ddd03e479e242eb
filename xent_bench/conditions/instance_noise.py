"""Label noise that depends on the pixels of an image.  Xia et al., 2020, arXiv:2006.07836."""

from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from xent_bench.data.image_set import ImageSet
from xent_bench.failures import DataError
from xent_bench.randomness import generator
from xent_bench.types import Images, Index

Shares: TypeAlias = Float64[Tensor, " n"]

SPREAD = 0.1  # standard deviation of the rates of the images, before they are cut to [0, 1]
LEAST_RATE = 0.005  # for which the cut normal has a mean within the search
GRID = 10_000  # quantiles whose mean is that of a cut normal
BLOCK = 10_000  # images at a time
MOST_WEIGHTS = 2**28  # of all projections together: 1 GiB in float32


class InstanceNoise(NamedTuple):
    """Rates and new classes of the images, each drawn from what its pixels say."""

    rates: Shares  # the probability that the label of an image changes
    others: Index  # the class that it changes to


def instance_noise(
    data: ImageSet, rate: float, seed: int, quantiles: Shares, places: Shares
) -> InstanceNoise:
    """Draw the rate of each image, and the class that its label would change to.

    Rates are normal with standard deviation 0.1, cut to [0, 1], and have the mean `rate`;
    `quantiles` draw them, so that the rate of every image grows with `rate`. The scores of an image
    x of class y are x W_y, with standard normal W_y (d, c), and the new class is drawn by softmax
    over all classes but y; `places` draw it. x is the vector of its d pixels, of mean 0 and
    standard deviation 1 within the image, so that no image depends on another. DataError for images
    in files.
    """
    if not isinstance(data.images, Tensor):
        raise DataError(
            "noise=instance looks at the pixels of all images, and takes images in memory alone; "
            "expected noise=symmetric, asymmetric, pair, matrix or file for these"
        )
    n, c, d = len(data.images), len(data.classes), data.images[0].numel()
    if c * c * d > MOST_WEIGHTS:
        raise DataError(
            f"noise=instance draws {c} x {d} x {c} weights, too many: expected at most "
            f"{MOST_WEIGHTS:,}; another noise needs none"
        )
    draws = generator(seed, "projections of instance noise")
    others = torch.empty(n, dtype=torch.int64)
    for number in range(c):
        weights = torch.randn(d, c, generator=draws)
        ids = (data.labels == number).nonzero()[:, 0]
        for block in torch.split(ids, BLOCK):
            scores = (_standardised(data.images[block]) @ weights).double()
            scores[:, number] = -torch.inf
            cumulated = scores.softmax(dim=1).cumsum(dim=1)
            cumulated[:, -1] = 1  # not a rounding error less
            others[block] = torch.searchsorted(cumulated, places[block, None], right=True)[:, 0]
    last = others == data.labels  # where the class itself is the last one, whose share is 0
    others[last] -= 1
    return InstanceNoise(rates_of_images(rate, quantiles), others)


def _standardised(images: Images) -> Float32[Tensor, "b d"]:
    """The pixels of each image as a vector of mean 0 and standard deviation 1; at least 1 grey."""
    pixels = images.flatten(1).float()
    mean, std = pixels.mean(dim=1, keepdim=True), pixels.std(dim=1, keepdim=True)
    standardised: Tensor = (pixels - mean) / std.clamp(min=1)
    return standardised


def rates_of_images(rate: float, quantiles: Shares) -> Shares:
    """The rate of each image: at its quantile of a normal that is cut to [0, 1], with mean `rate`.

    The normal has a standard deviation of 0.1. Its own mean is not `rate`, since the cut moves it,
    and is searched for. It would be far below 0 for a rate below 0.005, whose values are those of
    0.005, scaled; those of a rate above 1/2 are mirrored.
    """
    if rate > 0.5:
        return 1 - rates_of_images(1 - rate, 1 - quantiles)
    if rate < LEAST_RATE:
        return rate / LEAST_RATE * rates_of_images(LEAST_RATE, quantiles)
    grid = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    low, high = -3.0, 0.5  # between these lies the mean of the normal
    for _ in range(50):
        middle = (low + high) / 2
        if _cut_normal(middle, grid).mean() < rate:
            low = middle
        else:
            high = middle
    return _cut_normal(low, quantiles)


def _cut_normal(mean: float, quantiles: Shares) -> Shares:
    """Quantiles of a normal with this mean, at most 1/2, that is cut to [0, 1].

    They are taken from the upper tails, which have a small probability and so no loss of digits.
    """
    ends = torch.tensor([-mean, 1 - mean], dtype=torch.float64) / SPREAD
    above_0, above_1 = torch.special.erfc(ends / 2**0.5) / 2  # torch's ndtr is 0 in far tails
    tail = above_0 + (above_1 - above_0) * quantiles
    values: Shares = (mean - SPREAD * torch.special.ndtri(tail)).clamp(0, 1)
    return values
