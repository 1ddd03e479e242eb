"""Images in files, decoded by Pillow when they are wanted: for sets that do not fit into memory."""

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from xent_bench.data.file_hashes import file_hashes
from xent_bench.failures import DataError

Decoded: TypeAlias = UInt8[np.ndarray, "n size size 3"]
Box: TypeAlias = tuple[float, float, float, float]  # left, upper, right, lower, in pixels
Draw: TypeAlias = Sequence[float]  # five, uniform in [0, 1)

# What Pillow's readers raise, each of its kind
BROKEN = (OSError, RuntimeError, SyntaxError, ValueError, Image.DecompressionBombError)
SEEN = 0.875  # of the shorter side, in evaluation
LEAST_AREA = 0.08  # of a random crop
MOST_OBLONG = math.log(4 / 3)
# of ImageNet's train images, in units of uint8
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class ImageFiles:
    """Names of files below a folder; each is shown to a net as `size` x `size` pixels in colour.

    An array of bytes and no list: a million strings would be copied into every process that
    decodes, since counting references to them writes.
    """

    root: Path
    names: np.ndarray
    size: int

    @classmethod
    def of(cls, root: Path, names: list[str], size: int) -> "ImageFiles":
        """From names relative to the root."""
        return cls(root, np.array([os.fsencode(name) for name in names]), size)

    def __len__(self) -> int:
        """Number of files."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """As a tensor of them would have."""
        return len(self), 3, self.size, self.size

    def part(self, ids: np.ndarray) -> "ImageFiles":
        """Some of them."""
        return replace(self, names=self.names[ids])

    def sha256(self) -> str:
        """A hash of the names and of every byte of the files, which are read once for it."""
        content = hashlib.sha256(b"\n".join(self.names.tolist()))
        content.update(file_hashes(self.root, self.names).tobytes())
        return content.hexdigest()

    def decode(self, wanted: list[tuple[int, Draw | None]]) -> Decoded:
        """Each cropped as its draw says, or at the centre; a DataError names a damaged file."""
        out = np.empty((len(wanted), self.size, self.size, 3), np.uint8)
        for place, (number, draw) in enumerate(wanted):
            file = self.root / os.fsdecode(self.names[number])
            try:
                with Image.open(file) as image:
                    box = _centre(*image.size) if draw is None else _crop(*image.size, draw)
                    out[place] = _resized(image, box, self.size)
            except BROKEN as error:
                raise DataError(f"cannot read {file}: {error}") from error
            if draw is not None and draw[4] < 0.5:
                out[place] = out[place, :, ::-1]
        return out


def _resized(image: Any, box: Box, size: int) -> np.ndarray:
    """Only what the box holds is resized, with as wide a filter as that needs."""
    if image.mode.startswith(("I", "F")):  # Pillow would cut at 255 what goes up to 65,535
        raise ValueError(f"expected 8 bits a channel, got mode {image.mode}")
    colour = image.convert("RGB")
    resized: np.ndarray = np.asarray(colour.resize((size, size), Image.Resampling.BILINEAR, box))
    return resized


def _centre(w: int, h: int) -> Box:
    """The square in the middle that spans `SEEN` of the shorter side."""
    side = SEEN * min(w, h)
    left, upper = (w - side) / 2, (h - side) / 2
    return left, upper, left + side, upper + side


def _crop(w: int, h: int, draw: Draw) -> Box:
    """A random part of 8 to 100 % of the area and 3/4 to 4/3 as wide as high.

    Szegedy et al., 2015, arXiv:1409.4842. Where it would not fit, its longer side is cut; others
    draw again, and after ten times take the centre.
    """
    area = w * h * (LEAST_AREA + (1 - LEAST_AREA) * draw[0])
    ratio = math.exp(MOST_OBLONG * (2 * draw[1] - 1))
    width, height = min(math.sqrt(area * ratio), w), min(math.sqrt(area / ratio), h)
    left, upper = (w - width) * draw[2], (h - height) * draw[3]
    return left, upper, left + width, upper + height
