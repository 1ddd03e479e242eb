"""Image files decoded as a run's test was: by threads, ahead of the net.

Pillow decodes and resizes without Python's lock, so threads are enough. A file that cannot be read
becomes an error in its own row. What waits is bounded, so that a million files need no more memory
than a thousand.
"""

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from PIL import Image

from xent_bench.data.cropping import Pixels
from xent_bench.data.decoding import READABLE, silence_pillow
from xent_bench.data.image_files import ImageFiles, shown
from xent_bench.failures import DataError
from xent_bench.prediction.image_list import ListedFile
from xent_bench.prediction.rows import Names
from xent_bench.process.processors import processors
from xent_bench.trained_net.record import NetRecord
from xent_bench.types import Images

CHUNK = 32  # images that a thread decodes at a time, and those of the first batch: it comes early
MOST_IMAGES = 256  # of a batch
MOST_VALUES = 2**25  # of all pixels of a batch
AHEAD = 2  # batches that are decoded while the net computes
GREY = ("1", "L", "LA", "I", "I;16")  # modes of files, as Pillow calls them

Decoded: TypeAlias = Pixels | str  # an image, or the reason why there is none


class Batch(NamedTuple):
    """A batch of images in the order asked for; bad ones are names with an error."""

    names: Names
    images: Images  # (m, channels, h, w): those without an error


class Chunk(NamedTuple):
    """A few image files that one thread decodes."""

    files: ImageFiles
    names: Sequence[str]  # as they are printed
    errors: dict[int, str]  # known before, by place


class Reader:
    """A decoder of image files for one net; it notes whether a file in colour became grey."""

    def __init__(self, record: NetRecord) -> None:
        """Prepare to decode for the net of this record. DataError for one that takes no files."""
        channels, h, w = record.shape
        if record.preprocessing.vectors is not None or channels not in (1, 3):
            what = "features" if record.preprocessing.vectors is not None else "images"
            raise DataError(
                f"the net takes {what} with {channels:,} numbers "
                f"{'each' if what == 'features' else 'for each pixel'}, which no image file has"
            )
        self.preparation = record.preprocessing.preparation
        self.is_resized = record.preprocessing.takes_any_size
        if not self.is_resized:  # images in memory, or files of one size
            self.preparation = self.preparation._replace(size=None, shorter_side=0)
        self.shape = h, w, channels
        self.size = min(
            record.batch_size, MOST_IMAGES, max(1, MOST_VALUES // math.prod(record.shape))
        )
        self.has_made_grey = False

    def chunks(self, listed: Iterable[ListedFile]) -> Iterator[Chunk]:
        """Group listed files, as many as a thread decodes at a time."""
        places = iter(listed)
        while group := list(islice(places, min(CHUNK, self.size))):
            files = ImageFiles.of(Path(), [place.path for place in group], self.preparation)
            errors = {k: place.error for k, place in enumerate(group) if place.error}
            yield Chunk(files, [_printed(place.path) for place in group], errors)

    def chunks_of(self, files: ImageFiles, numbers: Sequence[int]) -> Iterator[Chunk]:
        """Group the files of a set with these numbers, to be decoded as this net takes them."""
        step = min(CHUNK, self.size)
        for start in range(0, len(numbers), step):
            part = files.part(np.array(numbers[start : start + step]))
            prepared = ImageFiles(
                part.root, part.names, self.preparation, part.rows, part.encoded, None
            )
            yield Chunk(prepared, [part.place_of(k) for k in range(len(part))], {})

    def decode(self, chunk: Chunk) -> list[Decoded]:
        """Decode a chunk: the pixels (h, w, channels) of each image, or why it has none."""
        return [
            chunk.errors.get(number) or self._decode(chunk, number)
            for number in range(len(chunk.names))
        ]

    def _decode(self, chunk: Chunk, number: int) -> Decoded:
        files = chunk.files
        try:
            pixels = files.decode_one(number, None) if self.is_resized else files.reduced(number)
        except DataError as error:
            return str(error).removeprefix(f"cannot read {files.place_of(number)}: ")
        if pixels.shape != self.shape:
            h, w, _ = self.shape
            return (
                f"expected {w} x {h} pixels, got {pixels.shape[1]} x {pixels.shape[0]}: the net "
                "was trained on images of one size and was never told how to resize"
            )
        if self.shape[2] == 1 and not self.has_made_grey and files.encoded is None:
            self.has_made_grey = is_colour(files.root / os.fsdecode(files.names[number]))
        return pixels


def _printed(path: str) -> str:
    """The path as `shown` prints it; most need no second look."""
    return path if path.isascii() and path.isprintable() else shown(path)


def is_colour(file: Path) -> bool:
    """Whether an image file holds colours, by its header; False if it cannot be opened."""
    try:
        with Image.open(file, formats=READABLE) as image:
            if image.mode != "P":
                return image.mode not in GREY
            palette = np.frombuffer(image.convert("RGB").tobytes(), np.uint8).reshape(-1, 3)
            return bool((palette != palette[:, :1]).any())
    except Exception:  # each of Pillow's readers raises other errors
        return False


def decoded(chunks: Iterable[Chunk], reader: Reader) -> Iterator[Batch]:
    """Decode chunk by chunk, ahead of whoever asks; the first batches are small.

    A batch has one chunk, then two, four and so on, up to the reader's size.
    """
    silence_pillow()
    waiting: deque[tuple[Chunk, Future[list[Decoded]]]] = deque()
    several, most = 1, max(1, reader.size // CHUNK)
    pool, left = ThreadPoolExecutor(processors()), iter(chunks)
    try:
        while True:
            for chunk in islice(left, several * (1 + AHEAD) - len(waiting)):
                waiting.append((chunk, pool.submit(reader.decode, chunk)))
            if not waiting:
                return
            group = [waiting.popleft() for _ in range(min(several, len(waiting)))]
            finished = [(chunk, future.result()) for chunk, future in group]
            yield _batch(finished, reader)
            several = min(2 * several, most)
    finally:  # what has not begun is not read
        pool.shutdown(cancel_futures=True)


def _batch(finished: Sequence[tuple[Chunk, list[Decoded]]], reader: Reader) -> Batch:
    names = [name for chunk, _ in finished for name in chunk.names]
    results: list[Decoded] = [result for _, results in finished for result in results]
    pixels = [result for result in results if not isinstance(result, str)]
    errors = {place: result for place, result in enumerate(results) if isinstance(result, str)}
    stacked = np.stack(pixels) if pixels else np.empty((0, *reader.shape), np.uint8)
    images = torch.from_numpy(stacked).permute(0, 3, 1, 2)
    return Batch(Names(names, errors), images)
