"""Rows of numbers that cannot be mapped as they lie: converted to float32, or unpacked.

Few of them are read into memory; more are written once to a .npy in the user's cache folder, which
is mapped from then on, by all processes.
"""

import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from xent_bench.cache_folder import cache_folder
from xent_bench.data.file_hashes import file_hashes
from xent_bench.data.image_files import shown
from xent_bench.data.vectors import CHUNK, mapped
from xent_bench.failures import DataError

SMALL = 2**28  # bytes, up to which an array that cannot be mapped is read into memory
KEPT = ("float16", "float32")  # types that are used as they are; other numbers become float32


def as_rows(file: Path, name: str, read: Callable[[], np.ndarray]) -> Tensor:
    """The array as it lies, if it is mapped and of a type that is used; else converted."""
    array = read()
    if array.dtype.kind not in "fiu":
        raise DataError(f"expected numbers in {name} of {shown(file)}, got {array.dtype}")
    is_kept = array.dtype.newbyteorder("=").name in KEPT and array.dtype.isnative
    if isinstance(array, np.memmap) and is_kept and array.flags.c_contiguous:
        return mapped(array)
    starts = range(0, len(array) if array.ndim else 0, CHUNK)
    chunks = (array[start : start + CHUNK] for start in starts)
    return converted(file, name, array.shape, array.dtype, chunks)


def converted(
    file: Path, name: str, shape: tuple[int, ...], dtype: Any, chunks: Iterator[np.ndarray]
) -> Tensor:
    """The chunks of rows as one array of a type that is used: in memory, or in the cache folder."""
    kept = np.dtype(dtype.name if dtype.name in KEPT else "float32")
    place = _cache_file(file, name) if int(np.prod(shape)) * kept.itemsize > SMALL else None
    if place is None:
        return torch.from_numpy(_filled(np.empty(shape, kept), chunks))
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_suffix(".lock")):
        if not place.exists():
            part = place.with_suffix(".part")
            try:
                out = np.lib.format.open_memmap(part, "w+", kept, shape)
                _filled(out, chunks)
                out.flush()
                part.replace(place)
            finally:
                part.unlink(missing_ok=True)
    return mapped(np.load(place, "r", allow_pickle=False))


def _cache_file(file: Path, name: str) -> Path | None:
    """The converted array's file, named by the original's content; None without a home folder."""
    try:
        folder = cache_folder()
    except RuntimeError:
        return None
    content = file_hashes(file.parent, np.array([os.fsencode(file.name)])).hashes.tobytes()
    return folder / f"features-{sha256(content + name.encode()).hexdigest()[:32]}.npy"


def _filled(out: np.ndarray, chunks: Iterator[np.ndarray]) -> np.ndarray:
    start = 0
    with np.errstate(over="ignore"):  # what is too large for float32 is refused as infinite
        for chunk in chunks:
            out[start : start + len(chunk)] = chunk
            start += len(chunk)
    return out
