"""Augmentation of a whole batch at once, each example with its own random draw.

Images are rows of pixels here, (n, h, w * channels): so a number of each example or each pixel is
applied along memory, several times as fast as across it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xent_bench.types import Distribution, Rows


class Augmentation(NamedTuple):
    """How training images are varied: the first two as the data allow, the others by the recipe."""

    flip: bool = False  # left to right, half the time
    crop: int = 0  # pixels of reflected border before a random crop to the original size
    cutout: int = 0  # side of a square that is blanked, in pixels
    mixup: float = 0.0  # alpha of the Beta distribution of the share; 0: not at all
    cutmix: float = 0.0


NO_AUGMENTATION = Augmentation()


class Rectangle(NamedTuple):
    """A part of each image: 1 within and 0 elsewhere, and its share of the area.

    In float, since arithmetic runs along memory many numbers at a time, and a choice does not.
    """

    inside: Float[Tensor, "n h wc"]
    share: Float[Tensor, " n"]


def cutout(images: Rows, square: Rectangle) -> Rows:
    """Blank a square with the mean of train.  DeVries and Taylor, 2017, arXiv:1708.04552."""
    return images.addcmul(images, square.inside, value=-1)


def mixup(
    images: Rows, target: Distribution, share: Float[Tensor, " n"]
) -> tuple[Rows, Distribution]:
    """Blend each example with the one before it, whose share is given.

    Zhang et al., 2018, arXiv:1710.09412.
    """
    mixed = images.lerp(_before(images), share[:, None, None])
    return mixed, target.lerp(_before(target), share[:, None])


def cutmix(images: Rows, target: Distribution, part: Rectangle) -> tuple[Rows, Distribution]:
    """Paste a part of the example before each; of the targets its area is the share.

    Yun et al., 2019, arXiv:1905.04899.
    """
    return images.lerp(_before(images), part.inside), target.lerp(
        _before(target), part.share[:, None]
    )


def rectangle(
    centre: Float[Tensor, "n 2"], sides: Float[Tensor, "n 2"], shape: tuple[int, int, int]
) -> Rectangle:
    """`centre` in [0, 1), `sides` in pixels; what lies outside (channels, h, w) is cut off."""
    channels, *lengths = shape
    rows, columns = (
        _inside(centre[:, axis, None] * length, sides[:, axis, None], length)
        for axis, length in enumerate(lengths)
    )
    inside = rows[:, :, None] * columns.repeat_interleave(channels, dim=1)[:, None, :]
    return Rectangle(inside, rows.mean(dim=1) * columns.mean(dim=1))


def _inside(
    centre: Float[Tensor, "n 1"], side: Float[Tensor, "n 1"], length: int
) -> Float[Tensor, "n length"]:
    pixel = torch.arange(length, device=centre.device) + 0.5
    return ((pixel - centre).abs() < side / 2).float()


def _before(tensor: Tensor) -> Tensor:
    return torch.cat((tensor[-1:], tensor[:-1]))
