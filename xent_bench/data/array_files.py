"""The named arrays of a file or a folder of features, mapped into memory where the format allows.

Read: .npz, .npy, .safetensors and .parquet, as data alone: an array of Python objects is refused.
What cannot be mapped (a compressed .npz, a Parquet file, float64) is converted.
"""

import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
import torch
from torch import Tensor

from xent_bench.data.array_conversion import as_rows, converted
from xent_bench.data.image_files import shown
from xent_bench.data.parquet_columns import column_values, matrix
from xent_bench.data.vectors import CHUNK
from xent_bench.failures import DataError

ENDINGS = (".npz", ".npy", ".safetensors", ".parquet")


class Arrays(NamedTuple):
    """The arrays of one file or folder by name; `about` is what xent-embed wrote of its file."""

    place: Path
    names: tuple[str, ...]
    rows: Callable[[str], Tensor]  # an array of numbers, mapped or converted
    small: Callable[[str], np.ndarray]  # an array of anything but objects, in memory
    files: tuple[Path, ...]
    about: dict[str, Any]  # empty for files of others


def open_arrays(file: Path) -> Arrays:
    """List a file's arrays. DataError for a file that is damaged, or of another format."""
    readers = {".npz": _npz, ".npy": _npy, ".safetensors": _safetensors, ".parquet": _parquet}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise DataError(
            f"expected features in {', '.join(ENDINGS)} or a folder of these, got {shown(file)}"
            f"{_how_to_convert(file)}"
        )
    with reading(file):
        return reader(file)


def _how_to_convert(file: Path) -> str:
    if file.suffix.lower() in (".pt", ".pth", ".pkl", ".pickle"):
        return ": np.savez(FILE, features=features.numpy(), labels=labels.numpy()) writes one"
    return ""


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Raise a DataError that names the file for whatever a reader raises."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # zipfile, NumPy, safetensors and Arrow each raise others
        reason = (
            error.strerror
            if isinstance(error, OSError) and error.strerror
            else " ".join(str(error).split())
        )
        raise DataError(f"cannot read {shown(file)}: {reason[:300]}") from error


def _npz(file: Path) -> Arrays:
    with ZipFile(file) as archive:
        entries = {
            entry.filename.removesuffix(".npy"): entry
            for entry in archive.infolist()
            if entry.filename.endswith(".npy")
        }
    if not entries:
        raise DataError(f"expected arrays in {shown(file)}, got none")

    def rows(name: str) -> Tensor:
        with reading(file):
            entry = entries[name]
            if entry.compress_type != ZIP_STORED:
                return as_rows(file, name, lambda: _of_npz(file, name))
            with file.open("rb") as opened:
                array = _mapped_array(opened, file, name, _start(opened, entry), entry.file_size)
            return as_rows(file, name, lambda: array)

    about = _parsed(str(_of_npz(file, "about"))) if "about" in entries else {}
    return Arrays(file, tuple(entries), rows, lambda name: _of_npz(file, name), (file,), about)


def _of_npz(file: Path, name: str) -> np.ndarray:
    with reading(file), np.load(file, allow_pickle=False) as stored:
        return _no_objects(lambda: stored[name], file, name)


def _start(opened: Any, entry: ZipInfo) -> int:
    """The offset at which the bytes of an entry of a zip begin, behind a header of any length."""
    opened.seek(entry.header_offset)
    header = opened.read(30)
    if header[:4] != b"PK\x03\x04":
        raise BadZipFile("an entry of the zip is not where it should be")
    name, extra = struct.unpack("<HH", header[26:30])
    return int(entry.header_offset + 30 + name + extra)


def _mapped_array(opened: Any, file: Path, name: str, start: int, size: int) -> np.ndarray:
    """Map the array in the .npy format that begins at a byte of a file and has so many bytes."""
    opened.seek(start)
    version = np.lib.format.read_magic(opened)
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, is_fortran, dtype = read_header(opened)
    if dtype.hasobject:
        raise _objects(file, name)
    begin = opened.tell()
    if begin + int(np.prod(shape, dtype=object)) * dtype.itemsize > start + size:
        raise ValueError(f"{name} ends before its last row")
    if not np.prod(shape, dtype=object):
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", begin, shape, "F" if is_fortran else "C")


def _npy(file: Path) -> Arrays:
    def array() -> np.ndarray:
        with reading(file), file.open("rb") as opened:
            return _mapped_array(opened, file, file.name, 0, os.fstat(opened.fileno()).st_size)

    array()
    name = "features"
    return Arrays(
        file, (name,), lambda _: as_rows(file, name, array), lambda _: array(), (file,), {}
    )


def folder_of_arrays(folder: Path, files: list[Path]) -> Arrays:
    """The .npy files of a folder, each an array by the name of its file."""
    parts = {file.stem: open_arrays(file) for file in files}
    return Arrays(
        folder,
        tuple(parts),
        lambda name: parts[name].rows(""),
        lambda name: parts[name].small(""),
        tuple(files),
        {},
    )


def _safetensors(file: Path) -> Arrays:
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        names, metadata = tuple(opened.keys()), opened.metadata() or {}

    def tensor(name: str) -> Tensor:
        with reading(file), safe_open(file, "pt") as opened:
            value: Tensor = opened.get_tensor(name)  # mapped
            return value

    def rows(name: str) -> Tensor:
        value = tensor(name)
        if value.dtype in (torch.float16, torch.bfloat16, torch.float32):
            return value
        return as_rows(file, name, value.numpy)

    return Arrays(
        file,
        names,
        rows,
        lambda name: tensor(name).numpy(),
        (file,),
        _parsed(metadata.get("about", "")),
    )


def _parquet(file: Path) -> Arrays:
    import pyarrow.parquet as pq

    stored = pq.ParquetFile(file, memory_map=True)
    names = tuple(stored.schema_arrow.names)

    def small(name: str) -> np.ndarray:
        with reading(file):
            column = stored.read([name]).column(0)
            if column.null_count:
                raise DataError(f"expected no missing values in {name} of {shown(file)}")
            return column_values(column.combine_chunks(), file, name)

    def rows(name: str) -> Tensor:
        with reading(file):
            n = stored.metadata.num_rows
            batches = stored.iter_batches(CHUNK, columns=[name])
            chunks = (matrix(batch.column(0), file, name) for batch in batches)
            first = next(chunks, np.empty((0, 0), np.float32))
            shape = n, first.shape[1]
            return converted(file, name, shape, first.dtype, chain([first], chunks))

    return Arrays(file, names, rows, small, (file,), {})


def _parsed(about: str) -> dict[str, Any]:
    """The JSON that xent-embed wrote; empty where somebody else wrote something of that name."""
    try:
        content = json.loads(about)
    except (ValueError, RecursionError):
        return {}
    classes = content.get("classes") if isinstance(content, dict) else None
    is_ours = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    return content if is_ours else {}


def _no_objects(read: Callable[[], np.ndarray], file: Path, name: str) -> np.ndarray:
    try:
        return read()
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise _objects(file, name) from error
        raise


def _objects(file: Path, name: str) -> DataError:
    return DataError(
        f"{name} in {shown(file)} is an array of Python objects, which are not read; "
        "np.array(values, dtype=str) makes texts of it, and np.stack(rows) numbers"
    )
