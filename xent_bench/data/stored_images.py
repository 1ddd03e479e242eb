"""Decoded images in one file that is mapped into memory: runs, ranks and workers share its pages.

An image has its own height and width, and begins at a multiple of 8 bytes. Its checksum is the sum
of its 64-bit words, which is read at the speed of memory and changes with any single bit.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64, UInt8, UInt64

from xent_bench.data.cropping import Pixels

PIXELS, INDEX, DAMAGED = "pixels.bin", "index.npz", "damaged"
WORD = 8  # bytes


class Index(NamedTuple):
    """The place of each stored image, and its checksum."""

    starts: Int64[np.ndarray, " n"]  # bytes from the file's beginning
    sides: Int32[np.ndarray, "n 2"]  # height and width, in pixels
    sums: UInt64[np.ndarray, " n"]


class StoredImages:
    """The images of a folder of the cache, by their numbers."""

    def __init__(self, folder: Path, channels: int) -> None:
        """Map the file. OSError or ValueError if it is missing, cut off or of another form."""
        self.folder, self.channels = folder, channels
        with np.load(folder / INDEX, allow_pickle=False) as stored:
            self.index = Index(*(stored[name] for name in Index._fields))
        _check(self.index)
        # a private mapping, since PyTorch warns of arrays that cannot be written; nobody writes,
        # so its pages stay those of the system's page cache
        self.pixels: np.ndarray = np.memmap(folder / PIXELS, np.uint8, mode="c")
        end = int(self.index.starts[-1]) + padded(self._length(-1))
        if len(self.pixels) != end:
            raise ValueError(f"expected {end} bytes, got {len(self.pixels)}")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.index.starts)

    def image(self, number: int) -> Pixels | None:
        """One image, (h, w, channels); None if it is damaged, which the folder then says.

        Such a folder is replaced by the next run that needs it.
        """
        start, length = int(self.index.starts[number]), self._length(number)
        content = self.pixels[start : start + padded(length)]
        if checksum(content) != self.index.sums[number]:
            with suppress(OSError):
                (self.folder / DAMAGED).touch()
            return None
        h, w = self.index.sides[number].tolist()
        return content[:length].reshape(h, w, self.channels)

    def _length(self, number: int) -> int:
        h, w = self.index.sides[number]
        return int(h) * int(w) * self.channels


def padded(length: int) -> int:
    """The length, in bytes, rounded up to whole words."""
    return -(-length // WORD) * WORD


def checksum(content: UInt8[np.ndarray, " length"]) -> np.uint64:
    """The sum of the words of a content, which is padded, modulo 2**64."""
    return np.uint64(np.add.reduce(content.view(np.uint64)))


def is_damaged(folder: Path) -> bool:
    """Whether a reader has found a damaged image in the folder."""
    return os.path.exists(folder / DAMAGED)


def _check(index: Index) -> None:
    n = len(index.starts)
    kinds = [(array.dtype.str, array.shape) for array in index]
    if n < 1 or kinds != [("<i8", (n,)), ("<i4", (n, 2)), ("<u8", (n,))]:
        raise ValueError(f"expected an index of images, got {kinds}")
