"""Images in files, decoded by Pillow when needed, for data sets that do not fit into memory."""

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from xent_bench.data.file_hashes import Hashes, file_hashes
from xent_bench.failures import DataError

Decoded: TypeAlias = UInt8[np.ndarray, "n size size 3"]
Box: TypeAlias = tuple[float, float, float, float]  # left, upper, right, lower, in pixels
Draw: TypeAlias = Sequence[float]  # area, ratio, left, upper and mirror, uniform in [0, 1)

# the errors that Pillow's readers raise for a damaged file; each format has its own
BROKEN = (OSError, RuntimeError, SyntaxError, ValueError, Image.DecompressionBombError)
SEEN = 0.875  # the side of the central crop in evaluation, as a fraction of the shorter side
LEAST_AREA = 0.08  # of a random crop, as a fraction of the image's area
MOST_OBLONG = math.log(4 / 3)  # of a random crop: the largest |log(width / height)|
CROPS = "train: random crops of 8 to 100 % of the area; evaluation: the central square, 7/8 wide"
# moments of the channels in ImageNet's train images, in units of uint8
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class ImageFiles:
    """Image files below a folder; a net sees each as `size` x `size` pixels in colour.

    The names are one array and not a list of strings: reference counting writes to each string,
    so a million of them would be copied into every process that decodes.
    """

    root: Path
    names: np.ndarray  # as bytes, relative to the root
    size: int

    @classmethod
    def of(cls, root: Path, names: list[str], size: int) -> "ImageFiles":
        """The images with these names, which are relative to the root."""
        return cls(root, np.array([os.fsencode(name) for name in names]), size)

    def __len__(self) -> int:
        """Number of files."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, h, w), the shape of a tensor of these images."""
        return len(self), 3, self.size, self.size

    def part(self, ids: np.ndarray) -> "ImageFiles":
        """The images with these ids (positions), in this order."""
        return replace(self, names=self.names[ids])

    def name_of(self, number: int) -> str:
        """A file's name relative to the root, as text that can be printed."""
        name: bytes = self.names[number]
        return name.decode(errors="backslashreplace").replace("\n", "\\n")

    @cached_property
    def hashes(self) -> Hashes:
        """The SHA-256 of each file, as it was when they were first asked for."""
        return file_hashes(self.root, self.names)

    def sha256(self) -> str:
        """A hash of the names and of all bytes of the files. Unchanged files are read only once."""
        content = hashlib.sha256(b"\n".join(self.names.tolist()))
        content.update(self.hashes.tobytes())
        return content.hexdigest()

    def decode(self, wanted: list[tuple[int, Draw | None]]) -> Decoded:
        """Decode the images with these numbers, each cropped by its draw, or centrally without one.

        DataError names a file that is damaged or cannot be read.
        """
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
    """Crop the image to the box and resize it to `size` x `size` pixels, bilinear, antialiased."""
    if image.mode.startswith(("I", "F")):  # values up to 65,535, which Pillow would clip at 255
        raise ValueError(f"expected 8 bits a channel, got mode {image.mode}")
    colour = image.convert("RGB")
    resized: np.ndarray = np.asarray(colour.resize((size, size), Image.Resampling.BILINEAR, box))
    return resized


def _centre(w: int, h: int) -> Box:
    """The central square whose side is `SEEN` of the shorter side."""
    side = SEEN * min(w, h)
    left, upper = (w - side) / 2, (h - side) / 2
    return left, upper, left + side, upper + side


def _crop(w: int, h: int, draw: Draw) -> Box:
    """A random box: 8 to 100 % of the image's area, width / height from 3/4 to 4/3.

    Szegedy et al., 2015, arXiv:1409.4842. A box that is too wide or too high is cut to the image's
    side; other implementations draw again and, after ten draws, take the centre.
    """
    area = w * h * (LEAST_AREA + (1 - LEAST_AREA) * draw[0])
    ratio = math.exp(MOST_OBLONG * (2 * draw[1] - 1))
    width, height = min(math.sqrt(area * ratio), w), min(math.sqrt(area / ratio), h)
    left, upper = (w - width) * draw[2], (h - height) * draw[3]
    return left, upper, left + width, upper + height
