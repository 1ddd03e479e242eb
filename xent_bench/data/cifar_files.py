"""Readers for single files of CIFAR, in the two forms in which they are published.

https://www.cs.toronto.edu/~kriz/cifar.html describes both: the Python version holds pickles, the
binary version records of bytes. An image is stored as its red, green and blue plane, row by row.
"""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from xent_bench.failures import DataError

PIXELS = 3 * 32 * 32


class Batch(NamedTuple):
    """Pixels and labels of one file, at least one image."""

    pixels: UInt8[np.ndarray, "n 3072"]
    labels: list[int]


def pickled_batch(file: Path, key: bytes) -> Batch:
    """Read a pickled dictionary with the pixels under `data` and a list of labels under `key`."""
    content = _unpickled(file)
    pixels = _pixels(content.get(b"data"), file)
    labels = _list_of(int, content, key, file)
    if len(labels) != len(pixels):
        raise DataError(f"expected {len(pixels)} labels in {file}, got {len(labels)}")
    return Batch(pixels, labels)


def binary_batch(file: Path, label_bytes: int) -> Batch:
    """Read records of `label_bytes` bytes (1 or 2; the class is the last) and 3,072 pixels."""
    content, size = _content(file), label_bytes + PIXELS
    if not content or len(content) % size:
        got = f"{len(content)} bytes"
        raise DataError(f"{file} is cut off: expected whole records of {size} bytes, got {got}")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return Batch(records[:, label_bytes:], records[:, label_bytes - 1].tolist())


def pickled_names(file: Path, key: bytes) -> tuple[str, ...]:
    """Read the classes' names from a pickled dictionary: a list of bytes under `key`."""
    names = _list_of(bytes, _unpickled(file), key, file)
    return tuple(name.decode("latin1") for name in names)


def written_names(file: Path) -> tuple[str, ...]:
    """Read the classes' names from a text file, one a line. Published files have empty lines."""
    lines = _content(file).decode("latin1").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error}") from error


class _Pickled:
    """A description of a NumPy array or dtype, as a pickle holds it.

    It replaces NumPy's own classes while a file is read. Those trust what a pickle says about
    their memory, so a forged pickle could read and write anywhere in memory. This class only
    stores the values; `_pixels` checks them and uses nothing but the bytes.
    """

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


PERMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _Pickled,  # before NumPy 2: the published files
    ("numpy._core.multiarray", "_reconstruct"): _Pickled,
    ("numpy", "ndarray"): _Pickled,
    ("numpy", "dtype"): _Pickled,
    ("_codecs", "encode"): str.encode,  # how Python 3 pickles bytes for Python 2
}


class _Unpickler(pickle.Unpickler):
    """An unpickler that imports only what an array needs: a pickle could run any program."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PERMITTED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array: refused")
        return PERMITTED[module, name]


def _unpickled(file: Path) -> dict[object, Any]:
    try:
        with file.open("rb") as stream:
            content = _Unpickler(stream, encoding="bytes").load()
    except Exception as error:  # a damaged pickle is a damaged program, which can raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot read {file}, expected a pickle of arrays: {reason}") from error
    if not isinstance(content, dict):
        raise DataError(f"expected a dictionary in {file}, got {type(content).__name__}")
    return content


def _pixels(array: Any, file: Path) -> UInt8[np.ndarray, "n 3072"]:
    """The bytes of a pickled array as pixels (n, 3072). DataError unless it is one of uint8."""
    match array:
        case _Pickled(state=(_, (n, width), dtype, by_column, bytes() as values)) if (
            _is_uint8(dtype) and width == PIXELS and values and len(values) == n * PIXELS
        ):
            flat = np.frombuffer(values, np.uint8)
            return flat.reshape((-1, PIXELS), order="F" if by_column else "C")
        case _Pickled(state=(_, shape, *_)):
            got = f"an array of shape {shape!r}"
        case _:
            got = "no array"
    raise DataError(f"expected data in uint8 of shape (n, {PIXELS}) in {file}, got {got}")


def _is_uint8(dtype: Any) -> bool:
    return isinstance(dtype, _Pickled) and dtype.arguments[:1] in (("u1",), (b"u1",))


def _list_of(kind: type, content: dict[object, Any], key: bytes, file: Path) -> list[Any]:
    """The list under `key`. DataError unless it is a list of `kind`."""
    values = content.get(key)
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        want = f"a list of {kind.__name__} as {key.decode()}"
        raise DataError(f"expected {want} in {file}, got something else")
    return values
