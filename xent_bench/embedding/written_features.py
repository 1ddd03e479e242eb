"""A file of features, .npz or .safetensors, written array by array without holding them.

The arrays of a .npz are neither compressed nor misaligned, so that they can be mapped.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import numpy as np

ALIGNED = 64  # bytes, as NumPy aligns the data within a .npy
HEADER, ZIP64 = 30, 20  # bytes of a zip's entry before its name, and of its note on a large size
PADDING = 0xD935  # the kind of a field that only pads, as Android's zipalign writes it
TYPES = {"float16": "F16", "float32": "F32", "float64": "F64", "int64": "I64", "uint8": "U8"}


class Streamed(NamedTuple):
    """An array that is written chunk by chunk."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: Iterable[np.ndarray]

    @classmethod
    def of(cls, array: np.ndarray) -> "Streamed":
        """An array that is in memory already."""
        return cls(array.shape, array.dtype, [array])


def write_features(file: Path, arrays: dict[str, Streamed], about: dict[str, Any]) -> None:
    """Write the file, which appears whole; its ending chooses the format."""
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as opened:
            if file.suffix == ".npz":
                _write_npz(opened, arrays, json.dumps(about))
            else:
                _write_safetensors(opened, arrays, json.dumps(about))
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _write_npz(opened: BinaryIO, arrays: dict[str, Streamed], about: str) -> None:
    with ZipFile(opened, "w", ZIP_STORED) as archive:
        for name, array in {**arrays, "about": Streamed.of(np.array(about))}.items():
            entry = ZipInfo(f"{name}.npy")  # of 1980: the same features are the same bytes
            entry.extra = _padding(opened.tell() + HEADER + len(entry.filename) + ZIP64)
            with archive.open(entry, "w", force_zip64=True) as member:
                header = {
                    "descr": np.lib.format.dtype_to_descr(array.dtype),
                    "fortran_order": False,
                    "shape": array.shape,
                }
                np.lib.format.write_array_header_1_0(member, header)
                for content in _contents(array):
                    member.write(content)


def _padding(start: int) -> bytes:
    """A field of a zip's entry after which its content is aligned; it has four bytes at least."""
    size = -(start + 4) % ALIGNED
    return PADDING.to_bytes(2, "little") + size.to_bytes(2, "little") + bytes(size)


def _write_safetensors(opened: BinaryIO, arrays: dict[str, Streamed], about: str) -> None:
    """Write the format as https://github.com/huggingface/safetensors states it.

    Its library holds all tensors in memory.
    """
    header: dict[str, Any] = {"__metadata__": {"about": about}}
    start = 0
    plain = {name: _without_text(array) for name, array in arrays.items()}
    # the widest types first, so that each array is aligned
    ordered = sorted(plain.items(), key=lambda item: -item[1].dtype.itemsize)
    for name, array in ordered:
        end = start + int(np.prod(array.shape, dtype=np.int64)) * array.dtype.itemsize
        header[name] = {
            "dtype": TYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [start, end],
        }
        start = end
    content = json.dumps(header).encode()
    content += b" " * (-len(content) % ALIGNED)
    opened.write(len(content).to_bytes(8, "little") + content)
    for _, array in ordered:
        for rows in _contents(array):
            opened.write(rows)


def _without_text(array: Streamed) -> Streamed:
    """Text as rows of bytes: safetensors holds numbers alone."""
    if array.dtype.kind != "S":
        return array
    width = array.dtype.itemsize
    chunks = (chunk.view(np.uint8).reshape(len(chunk), width) for chunk in array.chunks)
    return Streamed((*array.shape, width), np.dtype(np.uint8), chunks)


def _contents(array: Streamed) -> Iterator[bytes]:
    for chunk in array.chunks:
        yield np.ascontiguousarray(chunk).tobytes()
