"""Decoded images in one file that is mapped into memory: runs, ranks and workers share its pages.

An image has its own height and width, and begins at a multiple of 8 bytes. Its checksum is the sum
of its 64-bit words, which is read at the speed of memory and changes with any single bit.
"""

import os
from array import array
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
        with (folder / INDEX).open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
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


class StoredWriter:
    """A writer of the files that `StoredImages` reads; the index is written at the end."""

    def __init__(self, folder: Path) -> None:
        """Open the file of the pixels in a folder that exists."""
        self.folder, self.length = folder, 0  # bytes so far
        self.file = open(folder / PIXELS, "wb")  # noqa: SIM115  closed by __exit__
        self.starts, self.sides, self.sums = array("q"), array("i"), array("Q")

    def __enter__(self) -> "StoredWriter":
        """Return the writer itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file; without an error write the index."""
        self.file.close()
        if error[0] is None:
            columns = Index(
                np.array(self.starts, np.int64),
                np.array(self.sides, np.int32).reshape(-1, 2),
                np.array(self.sums, np.uint64),
            )
            np.savez(self.folder / INDEX, **columns._asdict())

    def add(self, image: Pixels) -> None:
        """Append an image."""
        content = np.zeros(padded(image.size), np.uint8)
        content[: image.size] = image.reshape(-1)
        self.file.write(content.data)
        self.starts.append(self.length)
        self.sides.extend(image.shape[:2])
        self.sums.append(int(checksum(content)))
        self.length += len(content)


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
