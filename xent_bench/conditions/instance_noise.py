"""Label noise that depends on the pixels of an image.  Xia et al., 2020, arXiv:2006.07836."""

from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float64
from torch import Tensor

from xent_bench.data.image_set import ImageSet
from xent_bench.failures import DataError
from xent_bench.randomness import generator
from xent_bench.types import Index

Shares: TypeAlias = Float64[Tensor, " n"]

SPREAD = 0.1  # standard deviation of the rates of the images, before they are cut to [0, 1]
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

    Rates are normal with mean `rate` and standard deviation 0.1, cut to [0, 1]; `quantiles` draw
    them, so that the rate of every image grows with `rate`. The scores of an image x of class y are
    x W_y, with standard normal W_y (d, c), and the new class is drawn by softmax over all classes
    but y; `places` draw it. x is the vector of d pixels, with each channel at mean 0 and standard
    deviation 1 over the images that are not in test. DataError for images in files.
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
    mean, std = _moments(data)
    others = torch.empty(n, dtype=torch.int64)
    for number in range(c):
        weights = torch.randn(d, c, generator=draws)
        ids = (data.labels == number).nonzero()[:, 0]
        for block in torch.split(ids, BLOCK):
            pixels = ((data.images[block].float() - mean) / std).flatten(1)
            scores = (pixels @ weights).double()
            scores[:, number] = -torch.inf
            cumulated = scores.softmax(dim=1).cumsum(dim=1)
            cumulated[:, -1] = 1  # not a rounding error less
            others[block] = torch.searchsorted(cumulated, places[block, None], right=True)[:, 0]
    last = others == data.labels  # where the class itself is the last one, whose share is 0
    others[last] -= 1
    return InstanceNoise(_rates(rate, quantiles), others)


def _rates(rate: float, quantiles: Shares) -> Shares:
    low, high = torch.special.ndtr(torch.tensor([-rate, 1 - rate]).double() / SPREAD)
    shares = low + (high - low) * quantiles
    rates: Shares = (rate + SPREAD * torch.special.ndtri(shares)).clamp(0, 1)
    return rates


def _moments(data: ImageSet) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over the images that are not in test."""
    assert isinstance(data.images, Tensor)
    others = torch.ones(len(data.images), dtype=torch.bool)
    if data.test is not None:
        others[data.test] = False
    sums = torch.zeros(2, data.shape[0], dtype=torch.float64)
    count = 0
    for block in torch.split(others.nonzero()[:, 0], BLOCK):
        pixels = data.images[block].double()
        sums[0] += pixels.sum(dim=(0, 2, 3))
        sums[1] += pixels.square().sum(dim=(0, 2, 3))
        count += pixels[:, 0].numel()
    mean, square = sums / max(count, 1)
    std = (square - mean.square()).clamp(min=1e-12).sqrt()
    return mean.float()[:, None, None], std.float()[:, None, None]
