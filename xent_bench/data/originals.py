"""Small image files that are decoded at once to memory, each as it is: all must have one size."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from xent_bench.data.cropping import Pixels
from xent_bench.data.image_files import ImageFiles
from xent_bench.failures import DataError, OutOfMemory
from xent_bench.process.processors import processors

CHUNK = 64  # images that a thread gets at a time
MOST = 2**33  # bytes: a larger set is better read from its files


def in_memory(files: ImageFiles, size: tuple[int, int] | None = None) -> Tensor:
    """Decode all files to uint8 (n, channels, h, w); `size` is their height and width, if known.

    DataError if a file is damaged, if two have different sizes, or if all together are too large.
    """
    if size is None:
        files.check()
    h, w = size or files.reduced(0).shape[:2]
    n, channels = len(files), files.preparation.channels
    pixels = _room(n, h, w, channels)

    def read(start: int) -> None:
        for number in range(start, min(start + CHUNK, n)):
            image = files.reduced(number)
            if image.shape != (h, w, channels):
                raise DataError(_complaint(files, number, image, (h, w), is_given=size is not None))
            pixels[number] = image

    pool = ThreadPoolExecutor(processors())
    try:
        for _ in pool.map(read, range(0, n, CHUNK)):
            pass
    finally:  # after an error or a signal to end, images that have not begun are not read
        pool.shutdown(cancel_futures=True)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _room(n: int, h: int, w: int, channels: int) -> np.ndarray:
    length = n * h * w * channels
    if length > MOST:
        raise DataError(
            f"data.size=original keeps all images in memory, and {n:,} of {w} x {h} pixels take "
            f"{length / 2**30:.0f} GiB: expected {MOST / 2**30:.0f} GiB at most; data.size=N reads "
            "them from their files"
        )
    try:
        return np.empty((n, h, w, channels), np.uint8)
    except MemoryError as error:
        raise OutOfMemory(f"not enough memory for {n:,} images of {w} x {h} pixels") from error


def _complaint(
    files: ImageFiles, number: int, image: Pixels, size: tuple[int, int], *, is_given: bool
) -> str:
    other = f"{files.place_of(number)} has {image.shape[1]} x {image.shape[0]}"
    if is_given:
        return f"expected images of {size[1]} x {size[0]} pixels, {other}"
    return (
        f"data.size=original needs images of one size: {files.place_of(0)} has {size[1]} x "
        f"{size[0]} pixels, {other}; data.size={min(size)} resizes them"
    )
