"""Images of any size reduced and cropped within a net, as image files are before they reach it.

Reducing, cropping and smoothing are one product with a matrix for each axis, whose entries are
computed from the image's height and width. So a graph of plain tensor operations takes any size,
whichever kinds of resizing the runtime has. As in PyTorch, columns come before rows, and each step
is rounded to whole values from 0 to 255. A value may differ by 1 of 255 from that of the file: the
filters of PyTorch and Pillow are rounded too, and Pillow takes rows first where an image is taller
than wide.
"""

import torch
from torch import Tensor, nn

from xent_bench.data.preparation import SEEN, Preparation

# Weights are multiples of 1/STEPS: 15 bits, and 8 of a pixel, fit into the 24 of float32. So no
# product and no sum is rounded, and every runtime computes the same pixels, in whichever order.
STEPS = 2**15
CUBIC = -0.5  # the free number of the cubic filter, as Pillow chooses it


class AnySize(nn.Module):
    """Reduces and crops images as `preparation` says, to `size` x `size` pixels.

    Unless `whole_images`, those of exactly that size are taken as prepared, and stay as they are.
    """

    def __init__(self, preparation: Preparation, *, whole_images: bool) -> None:
        """`preparation` has a `size`: without one images are not resized."""
        super().__init__()
        self.whole_images = whole_images
        assert preparation.size is not None
        self.size, self.shorter_side = preparation.size, preparation.shorter_side
        self.is_cubic = preparation.interpolation == "bicubic"

    def forward(self, images: Tensor) -> Tensor:
        """Return float images (n, channels, size, size) of whole values from 0 to 255."""
        h, w = (
            torch.scalar_tensor(side, dtype=torch.int64, device=images.device)
            for side in images.shape[-2:]
        )
        shorter = torch.minimum(h, w)
        rows = self._matrix(images.shape[-2], h, shorter)
        columns = self._matrix(images.shape[-1], w, shorter)
        if not self.whole_images:
            is_prepared = (h == self.size) & (w == self.size)
            rows, columns = (_unless(is_prepared, matrix) for matrix in (rows, columns))
        narrow = _whole(images.float() @ columns.T)
        return _whole(rows @ narrow)

    def _matrix(self, length: int, side: Tensor, shorter: Tensor) -> Tensor:
        """Weights (size, length) of the source's pixels along one axis, for each pixel of the net.

        `side` is the length as a tensor, `shorter` the shorter side of the image.
        """
        start, step, first, last = self._window(side, shorter)
        centre = start + (torch.arange(self.size, device=side.device) + 0.5) * step
        pixel = torch.arange(length, device=side.device)
        distance = (pixel + 0.5 - centre[:, None]) / step.clamp_min(1.0)
        weight = self._filter(distance.abs())
        weight = torch.where((pixel >= first) & (pixel < last), weight, 0.0)
        shares = weight.double() / weight.double().sum(dim=1, keepdim=True)
        return (shares * STEPS).round().float() / STEPS

    def _window(self, side: Tensor, shorter: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The net's pixels along one axis, in pixels of the source.

        Returns the place where the first begins, the width of each, the first source pixel that is
        used, and the one after the last.
        """
        zero = torch.zeros_like(side)
        if not self.shorter_side:  # the central square of the whole image
            part = SEEN * shorter
            return (side - part) / 2, part / self.size, zero, side
        # an image that is large enough is reduced, and its central pixels are taken
        reduced = self.shorter_side * side // shorter
        scale = side / reduced
        reduced_start = _half_to_even(reduced - self.size) * scale
        # of one that is too small the central square, as large in proportion, is enlarged
        part = torch.round(shorter * self.size / self.shorter_side).long().clamp_min(1)
        first = _half_to_even(side - part)
        is_large = shorter >= self.shorter_side
        return (
            torch.where(is_large, reduced_start, first.float()),
            torch.where(is_large, scale, part / self.size),
            torch.where(is_large, zero, first),
            torch.where(is_large, side, first + part),
        )

    def _filter(self, distance: Tensor) -> Tensor:
        """The filter's weight at a distance of at least 0, in steps of its width."""
        if not self.is_cubic:
            return (1 - distance).clamp_min(0)
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance * distance + 1
        far = (((distance - 5) * distance + 8) * distance - 4) * CUBIC
        return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))


def _unless(is_prepared: Tensor, matrix: Tensor) -> Tensor:
    """The matrix, or the one that leaves an image as it is."""
    rows, columns = (torch.arange(n, device=matrix.device) for n in matrix.shape)
    return torch.where(is_prepared, (rows[:, None] == columns).to(matrix.dtype), matrix)


def _whole(values: Tensor) -> Tensor:
    # as Pillow and PyTorch round: x.5 up
    return (values + 0.5).floor().clamp(0, 255)


def _half_to_even(number: Tensor) -> Tensor:
    """Half of a whole number of at least 0, rounded as Python rounds: x.5 to the even neighbour."""
    half = number // 2
    return half + (number % 2) * (half % 2)
