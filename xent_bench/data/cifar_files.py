"""The files of CIFAR, one at a time, in both forms in which they are published.

https://www.cs.toronto.edu/~kriz/cifar.html describes them: pickles, which are the Python version,
and records of bytes. An image is its red, green and blue planes, each row by row.
"""

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from xent_bench.failures import DataError

PIXELS = 3 * 32 * 32


class Batch(NamedTuple):
    """What one file holds, at least one image."""

    pixels: UInt8[np.ndarray, "n 3072"]
    labels: list[int]


def pickled_batch(file: Path, key: bytes) -> Batch:
    """A dictionary with the pixels under `data`, and a list of labels under `key`."""
    content = _unpickled(file)
    pixels = _pixels(content.get(b"data"), file)
    labels = _list_of(int, content, key, file)
    if len(labels) != len(pixels):
        raise DataError(f"expected {len(pixels)} labels in {file}, got {len(labels)}")
    return Batch(pixels, labels)


def binary_batch(file: Path, label_bytes: int) -> Batch:
    """Records of 1 or 2 bytes of labels, the finest last, and 3,072 of pixels."""
    content, size = _content(file), label_bytes + PIXELS
    if not content or len(content) % size:
        got = f"{len(content)} bytes"
        raise DataError(f"{file} is cut off: expected whole records of {size} bytes, got {got}")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    return Batch(records[:, label_bytes:], records[:, label_bytes - 1].tolist())


def pickled_names(file: Path, key: bytes) -> tuple[str, ...]:
    """The names of the classes: a list of bytes under `key`."""
    names = _list_of(bytes, _unpickled(file), key, file)
    return tuple(name.decode("latin1") for name in names)


def written_names(file: Path) -> tuple[str, ...]:
    """The names of the classes, one a line; the published files end with an empty one."""
    lines = _content(file).decode("latin1").splitlines()
    return tuple(line.strip() for line in lines if line.strip())


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {file}: {error}") from error


class _Pickled:
    """An array, or its dtype, as a pickle describes it.

    It stands in for NumPy's: those believe what a pickle says of their memory, so that a forged
    one reads and writes where it likes. Out of these nothing is made but bytes.
    """

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


PERMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _Pickled,  # before NumPy 2: what is published
    ("numpy._core.multiarray", "_reconstruct"): _Pickled,
    ("numpy", "ndarray"): _Pickled,
    ("numpy", "dtype"): _Pickled,
    ("_codecs", "encode"): str.encode,  # how Python 3 writes bytes for Python 2
}


class _Unpickler(pickle.Unpickler):
    """A pickle is a program; this one may name what an array needs and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in PERMITTED:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an array: refused")
        return PERMITTED[module, name]


def _unpickled(file: Path) -> dict[object, Any]:
    try:
        with file.open("rb") as stream:
            content = _Unpickler(stream, encoding="bytes").load()
    except Exception as error:  # damaged bytes are a damaged program, which can raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot read {file}, expected a pickle of arrays: {reason}") from error
    if not isinstance(content, dict):
        raise DataError(f"expected a dictionary in {file}, got {type(content).__name__}")
    return content


def _pixels(array: Any, file: Path) -> UInt8[np.ndarray, "n 3072"]:
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
    values = content.get(key)
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        want = f"a list of {kind.__name__} as {key.decode()}"
        raise DataError(f"expected {want} in {file}, got something else")
    return values
