"""Augmentation of a whole batch at once, with a separate random draw for each example.

Images have the shape (n, h, w * channels) here: the channels of a pixel lie side by side, as in
channels-last memory. Arithmetic then runs along memory, several times as fast as across it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xent_bench.types import Distribution, Rows


class Augmentation(NamedTuple):
    """How training images are varied.

    The data set allows `flip` and `crop` or not; the recipe of training chooses the others.
    """

    flip: bool = False  # mirror left to right with probability 1/2
    crop: int = 0  # pixels of reflected border, from which the original size is cropped at random
    cutout: int = 0  # side in pixels of a square that is blanked; 0: none
    mixup: float = 0.0  # alpha of Beta(alpha, alpha), which draws the share; 0: no mixup
    cutmix: float = 0.0  # alpha of Beta(alpha, alpha), which draws the area; 0: no CutMix


NO_AUGMENTATION = Augmentation()


class Rectangle(NamedTuple):
    """A rectangle in each image, as a mask, and its share of the image's area.

    The mask is float and not bool: the CPU multiplies many numbers at a time, but selects by a
    bool mask one at a time.
    """

    inside: Float[Tensor, "n h wc"]  # 1 in the rectangle, 0 elsewhere
    share: Float[Tensor, " n"]  # in [0, 1]


def cutout(images: Rows, square: Rectangle) -> Rows:
    """Set a square to 0, the mean of train in normalised images.

    DeVries and Taylor, 2017, arXiv:1708.04552.
    """
    return images.addcmul(images, square.inside, value=-1)


def mixup(
    images: Rows, target: Distribution, share: Float[Tensor, " n"]
) -> tuple[Rows, Distribution]:
    """(1 - share) x_i + share x_{i-1} for images and targets; the first is mixed with the last.

    Zhang et al., 2018, arXiv:1710.09412.
    """
    mixed = images.lerp(_before(images), share[:, None, None])
    return mixed, target.lerp(_before(target), share[:, None])


def cutmix(images: Rows, target: Distribution, box: Rectangle) -> tuple[Rows, Distribution]:
    """Paste a rectangle of example i - 1 into example i; its share of the area mixes the targets.

    Yun et al., 2019, arXiv:1905.04899.
    """
    mixed = images.lerp(_before(images), box.inside)
    return mixed, target.lerp(_before(target), box.share[:, None])


def rectangle(
    centre: Float[Tensor, "n 2"], sides: Float[Tensor, "n 2"], shape: tuple[int, int, int]
) -> Rectangle:
    """Draw one rectangle for each image of shape (channels, h, w), cut off at the image's edge.

    `centre` (row, column) is in [0, 1), as a fraction of height and width; `sides` are in pixels.
    """
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
    """1 for each pixel of a line whose centre is less than side / 2 from `centre`, else 0."""
    pixel = torch.arange(length, device=centre.device) + 0.5
    return ((pixel - centre).abs() < side / 2).float()


def _before(tensor: Tensor) -> Tensor:
    """The rows moved down by one: row i holds row i - 1, and the first row holds the last."""
    return torch.cat((tensor[-1:], tensor[:-1]))
