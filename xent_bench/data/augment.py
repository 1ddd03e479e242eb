"""Augmentation of a whole batch at once, each example with its own random draw."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.nn import functional as F

from xent_bench.types import Pixels


class Augmentation(NamedTuple):
    """How a training image may be varied without changing its class."""

    flip: bool = False  # left to right, half the time
    crop: int = 0  # pixels of padding before a random crop to the original size


NO_AUGMENTATION = Augmentation()


def flip(images: Pixels, chosen: Bool[Tensor, " n"]) -> Pixels:
    """Mirror the chosen images left to right."""
    return torch.where(chosen[:, None, None, None], images.flip(-1), images)


def crop(images: Pixels, corner: Int64[Tensor, "n 2"], padding: int) -> Pixels:
    """Pad by reflection, then cut the original size at a corner (row, column) in [0, 2 padding]."""
    n, _, h, w = images.shape
    padded = F.pad(images, (padding,) * 4, mode="reflect")
    example = torch.arange(n, device=images.device)[:, None, None]
    row = corner[:, 0, None, None] + torch.arange(h, device=images.device)[:, None]
    column = corner[:, 1, None, None] + torch.arange(w, device=images.device)
    # advanced indices around a slice put the channels last: a view back, in channels-last layout
    return padded[example, :, row, column].permute(0, 3, 1, 2)
