"""Crops of a decoded image: a random part for training, the central square for evaluation.

Resizing is PyTorch's, with the filter widened as Pillow's is (antialiasing): for bytes it takes a
quarter of Pillow's time, and differs from it by 1 of 255 in a few of 1,000 pixels.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from torch.nn import functional as F

from xent_bench.data.preparation import Interpolation, Preparation

Box: TypeAlias = tuple[float, float, float, float]  # left, upper, right, lower, in pixels
WholeBox: TypeAlias = tuple[int, int, int, int]
Draw: TypeAlias = Sequence[float]  # area, ratio, left, upper and mirror, uniform in [0, 1)
Pixels: TypeAlias = UInt8[np.ndarray, "_ _ channels"]  # height, width, channels

LEAST_AREA = 0.08  # of a random crop, as a fraction of the image's area
MOST_OBLONG = math.log(4 / 3)  # of a random crop: the largest |log(width / height)|


def crop(stored: Pixels, draw: Draw | None, preparation: Preparation) -> Pixels:
    """Crop a reduced image by its draw, or centrally without one, to `size` x `size` pixels."""
    h, w, _ = stored.shape
    size = preparation.size
    if size is None:
        return stored
    if draw is None:
        left, upper, right, lower = _centre(w, h, preparation)
    else:
        left, upper, right, lower = _whole_pixels(random_box(w, h, draw), w, h)
    part = stored[upper:lower, left:right]
    square = resized(part, (size, size), preparation.interpolation)
    return _mirrored(square) if is_mirrored(draw) else square


def is_mirrored(draw: Draw | None) -> bool:
    """Whether the draw says to mirror an image; without a draw it is as it is."""
    return draw is not None and draw[4] < 0.5


def resized(pixels: Pixels, shape: tuple[int, int], interpolation: Interpolation) -> Pixels:
    """Resize an image to a height and a width, in pixels."""
    if pixels.shape[:2] == shape:
        return pixels
    scaled = F.interpolate(_channels_first(pixels), shape, mode=interpolation, antialias=True)
    return scaled[0].permute(1, 2, 0).numpy()


def _mirrored(pixels: Pixels) -> Pixels:
    """Mirror left to right; a copy, made in a tenth of the time that NumPy needs."""
    return _channels_first(pixels).flip(3)[0].permute(1, 2, 0).numpy()


def _channels_first(pixels: Pixels) -> torch.Tensor:
    """View an image as a batch (1, channels, h, w) that PyTorch takes for channels-last memory.

    It is fast for such a batch alone, which an axis added at the end would not be.
    """
    return torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)


def random_box(w: int, h: int, draw: Draw) -> Box:
    """A random box: 8 to 100 % of the image's area, width / height from 3/4 to 4/3.

    Szegedy et al., 2015, arXiv:1409.4842. A box that is too wide or too high is cut to the image's
    side; other implementations draw again and, after ten draws, take the centre.
    """
    area = w * h * (LEAST_AREA + (1 - LEAST_AREA) * draw[0])
    ratio = math.exp(MOST_OBLONG * (2 * draw[1] - 1))
    width, height = min(math.sqrt(area * ratio), w), min(math.sqrt(area / ratio), h)
    left, upper = (w - width) * draw[2], (h - height) * draw[3]
    return left, upper, left + width, upper + height


def _centre(w: int, h: int, preparation: Preparation) -> WholeBox:
    """The central square; in an image that was too small to be reduced, as large in proportion."""
    assert preparation.size is not None
    side = max(1, round(min(w, h) * preparation.size / preparation.shorter_side))
    left, upper = round((w - side) / 2), round((h - side) / 2)  # as torchvision's CenterCrop
    return left, upper, left + side, upper + side


def _whole_pixels(box: Box, w: int, h: int) -> WholeBox:
    """The nearest box of whole pixels, of one pixel at least."""
    left, upper, right, lower = box
    width, height = max(1, round(right - left)), max(1, round(lower - upper))
    first, top = min(round(left), w - width), min(round(upper), h - height)
    return first, top, first + width, top + height
