"""Images in files, decoded by Pillow when needed, for data sets that do not fit into memory."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import UInt8

from xent_bench.data.arrow_images import ArrowImages
from xent_bench.data.cropping import Draw, Pixels, crop
from xent_bench.data.decoding import (
    BAD,
    LYING,
    Content,
    complaint,
    decode,
    is_upright,
    look,
    look_into,
    reduced,
    silence_pillow,
    whole,
)
from xent_bench.data.file_hashes import FileHashes, Hashes, content_hashes, file_hashes
from xent_bench.data.preparation import Preparation
from xent_bench.data.stored_images import StoredImages
from xent_bench.failures import DataError

Decoded: TypeAlias = UInt8[np.ndarray, "n size size channels"]

NAMED = 3  # bad files that a refusal names
# moments of the channels in ImageNet's train images, in units of uint8
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Seen(NamedTuple):
    """Sizes and modes of files, as they were when each was looked at once."""

    sizes: np.ndarray  # (n, 2): width and height in pixels; 0 where a file is bad
    modes: np.ndarray  # (n,): places in decoding.MODES
    is_bad: np.ndarray  # (n,)


@dataclass(frozen=True)
class ImageFiles:
    """Image files below a folder, or their contents; a net sees each as `preparation` says.

    The names are one array and not a list of strings: reference counting writes to each string,
    so a million of them would be copied into every process that decodes.
    """

    root: Path
    names: np.ndarray  # as bytes: paths relative to the root, or what errors call a content
    preparation: Preparation
    rows: np.ndarray  # int64 (n,): the places of these images in `encoded` and `stored`
    # contents of files that are in no file of their own
    encoded: Sequence[bytes] | ArrowImages | None = None
    stored: StoredImages | None = None  # the reduced images, if they are kept decoded

    @classmethod
    def of(
        cls,
        root: Path,
        names: Sequence[str],
        preparation: Preparation | int,
        encoded: Sequence[bytes] | ArrowImages | None = None,
    ) -> "ImageFiles":
        """The images with these names, which are relative to the root.

        A size instead of a preparation stands for crops of the whole image. With `encoded`, an
        image is `encoded[i]`, the bytes of a file, and names[i] is what errors call it.
        """
        if isinstance(preparation, int):
            preparation = Preparation.of_whole_images(preparation)
        array = np.array([os.fsencode(name) for name in names])
        return cls(root, array, preparation, np.arange(len(array)), encoded)

    def __len__(self) -> int:
        """Number of files."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, channels, h, w), the shape of a tensor of these images."""
        size = self.preparation.size
        assert size is not None  # without a size images are decoded to memory at once
        return len(self), self.preparation.channels, size, size

    def part(self, ids: np.ndarray) -> "ImageFiles":
        """The images with these ids (positions), in this order."""
        return replace(self, names=self.names[ids], rows=self.rows[ids])

    def kept_in(self, stored: StoredImages) -> "ImageFiles":
        """Return these images, read from where they are kept decoded."""
        images = replace(self, stored=stored)
        images.__dict__["_looks"] = self._looks  # nobody need look at them again
        return images

    def name_of(self, number: int) -> str:
        """A file's name relative to the root, as text that can be printed."""
        return shown(os.fsdecode(self.names[number]))

    @property
    def hashes(self) -> Hashes:
        """The SHA-256 of each file, as it was when they were first asked for."""
        return self._looks.hashes

    def sha256(self) -> str:
        """A hash of the names and of all bytes of the files. Unchanged files are read only once."""
        content = hashlib.sha256(b"\n".join(self.names.tolist()))
        content.update(self.hashes.tobytes())
        is_turned = self._states == LYING
        if is_turned.any():  # before they were turned upright their pixels were others
            content.update(b"turned upright" + np.packbits(is_turned).tobytes())
        chosen = self.preparation
        if (chosen.shorter_side, chosen.interpolation) != (0, "bilinear"):
            content.update(f"{chosen.shorter_side} {chosen.interpolation}".encode())
        return content.hexdigest()

    def check(self) -> None:
        """Raise a DataError that counts the files which are no good images, and names some.

        Every file is decoded once; later only those that have changed since, and the bad ones.
        """
        complaints = self.complaints()
        if complaints:
            examples = "; ".join(complaints[:NAMED])
            others = f"; and {n:,} more" if (n := len(complaints) - NAMED) > 0 else ""
            raise DataError(
                f"cannot read {len(complaints):,} of {len(self):,} images, which have to be "
                f"replaced or deleted: {examples}{others}"
            )

    def complaints(self) -> list[str]:
        """The place of each file that is no good image, and the reason."""
        return [
            f"{self.place_of(number)}: {reason}"
            for number in np.flatnonzero(self._states == BAD).tolist()
            if (reason := self._complaint(number))
        ]

    def decode(self, wanted: list[tuple[int, Draw | None]]) -> Decoded:
        """Decode the images with these numbers, each cropped by its draw, or centrally without one.

        DataError names a file that is damaged or cannot be read.
        """
        _, channels, h, w = self.shape
        out = np.empty((len(wanted), h, w, channels), np.uint8)
        silence_pillow()
        for place, (number, draw) in enumerate(wanted):
            out[place] = self.decode_one(number, draw)
        return out

    def decode_one(self, number: int, draw: Draw | None) -> Pixels:
        """Decode one image, as `decode` does."""
        if not self.preparation.shorter_side:
            return self._read(number, partial(decode, draw=draw, preparation=self.preparation))
        kept = None if self.stored is None else self.stored.image(int(self.rows[number]))
        return crop(self.reduced(number) if kept is None else kept, draw, self.preparation)

    def reduced(self, number: int) -> Pixels:
        """Decode one image before any crop: upright, reduced to its shorter side."""
        return self._read(number, partial(reduced, preparation=self.preparation))

    def whole(self, number: int) -> Pixels:
        """Decode one image upright, neither resized nor cropped."""
        return self._read(number, partial(whole, preparation=self.preparation))

    def _read(self, number: int, read: Callable[[Content], Pixels]) -> Pixels:
        try:
            return read(self._content(number))
        except MemoryError:
            raise
        except Exception as error:  # each of Pillow's readers raises other errors
            raise DataError(f"cannot read {self.place_of(number)}: {complaint(error)}") from error

    @property
    def seen(self) -> "Seen":
        """The width, height and mode of each file, as they were when it was looked at."""
        looks = self._looks.looks
        sizes = np.stack((looks >> 16 & 0xFFFFFF, looks >> 40), axis=1).astype(np.int64)
        return Seen(sizes, (looks >> 8 & 0xFF).astype(np.int64), self._states == BAD)

    @property
    def _states(self) -> np.ndarray:
        return self._looks.looks & 0xFF

    @cached_property
    def _looks(self) -> FileHashes:
        silence_pillow()
        if isinstance(self.encoded, ArrowImages):
            return FileHashes(*(part[self.rows] for part in self.encoded.looked_at(look_into)))
        if self.encoded is not None:
            return content_hashes(self._contents(), look_into)
        return file_hashes(self.root, self.names, look)

    def _contents(self) -> Iterator[bytes]:
        assert self.encoded is not None
        return (self.encoded[row] for row in self.rows.tolist())

    def place_of(self, number: int) -> str:
        """The path of an image's file, as text that can be printed; for a content its name."""
        if self.encoded is not None:
            return f"{self.name_of(number)} of {shown(self.root)}"
        return shown(self.root / os.fsdecode(self.names[number]))

    def _content(self, number: int) -> Content:
        if self.encoded is not None:
            return BytesIO(self.encoded[int(self.rows[number])])
        return self.root / os.fsdecode(self.names[number])

    def _complaint(self, number: int) -> str:
        """The reason why a file is no good image; empty if it has become one."""
        try:
            is_upright(self._content(number))
        except MemoryError:
            raise
        except Exception as error:  # each of Pillow's readers raises other errors
            return complaint(error)
        return ""


def shown(path: str | Path) -> str:
    """A path as one line of text that any terminal and file can take."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
