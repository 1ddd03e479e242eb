"""Images in files, decoded by Pillow when needed, for data sets that do not fit into memory."""

import hashlib
import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

from xent_bench.data.decoding import (
    BAD,
    LYING,
    Draw,
    Pixels,
    complaint,
    decode,
    is_upright,
    look,
    silence_pillow,
)
from xent_bench.data.file_hashes import FileHashes, Hashes, file_hashes
from xent_bench.failures import DataError

Decoded: TypeAlias = UInt8[np.ndarray, "n size size 3"]

NAMED = 3  # bad files that a refusal names
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
        return shown(os.fsdecode(self.names[number]))

    @property
    def hashes(self) -> Hashes:
        """The SHA-256 of each file, as it was when they were first asked for."""
        return self._content.hashes

    def sha256(self) -> str:
        """A hash of the names and of all bytes of the files. Unchanged files are read only once."""
        content = hashlib.sha256(b"\n".join(self.names.tolist()))
        content.update(self.hashes.tobytes())
        is_turned = self._content.looks == LYING
        if is_turned.any():  # before they were turned upright their pixels were others
            content.update(b"turned upright" + np.packbits(is_turned).tobytes())
        return content.hexdigest()

    def check(self) -> None:
        """Raise a DataError that counts the files which are no good images, and names some.

        Every file is decoded once; later only those that have changed since, and the bad ones.
        """
        complaints = [
            f"{shown(self._file(number))}: {reason}"
            for number in np.flatnonzero(self._content.looks == BAD).tolist()
            if (reason := self._complaint(number))
        ]
        if complaints:
            examples = "; ".join(complaints[:NAMED])
            others = f"; and {n:,} more" if (n := len(complaints) - NAMED) > 0 else ""
            raise DataError(
                f"cannot read {len(complaints):,} of {len(self):,} images, which have to be "
                f"replaced or deleted: {examples}{others}"
            )

    def decode(self, wanted: list[tuple[int, Draw | None]]) -> Decoded:
        """Decode the images with these numbers, each cropped by its draw, or centrally without one.

        DataError names a file that is damaged or cannot be read.
        """
        out = np.empty((len(wanted), self.size, self.size, 3), np.uint8)
        silence_pillow()
        for place, (number, draw) in enumerate(wanted):
            out[place] = self.decode_one(number, draw)
        return out

    def decode_one(self, number: int, draw: Draw | None) -> Pixels:
        """Decode one image, as `decode` does."""
        file = self._file(number)
        try:
            return decode(file, draw, self.size)
        except MemoryError:
            raise
        except Exception as error:  # each of Pillow's readers raises other errors
            raise DataError(f"cannot read {shown(file)}: {complaint(error)}") from error

    @cached_property
    def _content(self) -> FileHashes:
        silence_pillow()
        return file_hashes(self.root, self.names, look)

    def _file(self, number: int) -> Path:
        return self.root / os.fsdecode(self.names[number])

    def _complaint(self, number: int) -> str:
        """The reason why a file is no good image; empty if it has become one."""
        try:
            is_upright(self._file(number))
        except MemoryError:
            raise
        except Exception as error:  # each of Pillow's readers raises other errors
            return complaint(error)
        return ""


def shown(path: str | Path) -> str:
    """A path as one line of text that any terminal and file can take."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
