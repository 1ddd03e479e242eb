"""Outputs of a trained net on corrupted and on foreign images, from which scores are computed.

`shift.npz` holds an array for each corruption and severity, named as in 'fog/3': the outputs on all
images of test, in the order of `predictions.npz`, as float16 (float32 where they are too large for
it), and `images`, which says whether the images were computed or published. `foreign.npz` holds for
each set its outputs in float32, and a text that says which images they are. Both name the weights
of the net. PyTorch is not needed to read them.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from zipfile import ZIP_STORED, ZipFile

import numpy as np

from xent_bench.arrays import Outputs
from xent_bench.failures import DataError
from xent_bench.printable import printable
from xent_bench.runs.reading import check_archive
from xent_bench.runs.whole_files import NEW

WEIGHTS, IMAGES = "weights_sha256", "images"
ORIGIN = "origin of "  # and the name of a set: the text that says which images they are
LARGEST_HALF = 65504.0  # the largest number of float16
Named: TypeAlias = tuple[str, np.ndarray]


class Kept(NamedTuple):
    """The names of the outputs in a file, and its texts, `weights_sha256` among them."""

    names: tuple[str, ...]
    texts: dict[str, str]


NOTHING = Kept((), {})


def kept_in(file: Path) -> Kept:
    """List what a file holds, without its outputs; NOTHING without a file. DataError if damaged."""
    if not file.exists():
        return NOTHING
    with _opened(file) as stored:
        return _contents(stored)


def kept_outputs(file: Path, classes: int, n: int | None = None) -> Iterator[tuple[str, Outputs]]:
    """Read the outputs (n, classes) one after another, in float32, each with its name.

    DataError where the file is damaged, or where an array is not of that shape and finite; with
    `n` None any number of rows is right.
    """
    if not file.exists():
        return
    with _opened(file) as stored:
        for name in _contents(stored).names:
            outputs = stored[name]
            rows = outputs.shape[0] if n is None and outputs.ndim == 2 else n
            if outputs.dtype.kind != "f" or outputs.shape != (rows, classes) or not rows:
                got = f"{outputs.dtype} of shape {outputs.shape}"
                raise ValueError(f"{name}: expected float of shape ({rows}, {classes}), got {got}")
            if not np.isfinite(outputs).all():
                raise ValueError(f"{name}: expected finite outputs, got NaN or infinity among them")
            yield name, outputs.astype(np.float32)


def raw_outputs(file: Path, names: Iterable[str]) -> Iterator[Named]:
    """Read the arrays of these names as they are kept, to be written again."""
    wanted = list(names)
    if wanted:
        with _opened(file) as stored:
            for name in wanted:
                yield name, stored[name]


def halved(outputs: np.ndarray) -> np.ndarray:
    """The outputs in float16; in float32 where one is too large for it."""
    largest = np.abs(outputs).max(initial=0)
    return outputs.astype(np.float16 if largest <= LARGEST_HALF else np.float32)


def write_outputs(file: Path, texts: dict[str, str], outputs: Iterable[Named]) -> None:
    """Write texts and arrays, one array in memory at a time; the file appears whole, and flushed.

    `outputs` may read from the file that is being replaced.
    """
    part = file.with_name(f"{file.name}.part")
    try:
        with open(os.open(part, NEW, 0o666), "wb") as opened:
            with ZipFile(opened, "w", ZIP_STORED) as archive:
                for name, text in texts.items():
                    _add(archive, name, np.array(text))
                for name, array in outputs:
                    _add(archive, name, array)
            opened.flush()
            os.fsync(opened.fileno())
        part.replace(file)
    except BaseException:  # no room, or a signal: the part takes some
        part.unlink(missing_ok=True)
        raise


def _add(archive: ZipFile, name: str, array: np.ndarray) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, array, allow_pickle=False)


def _contents(stored: Any) -> Kept:
    names = [name for name in stored.files if name not in (WEIGHTS, IMAGES)]
    texts = [name for name in stored.files if name in (WEIGHTS, IMAGES) or name.startswith(ORIGIN)]
    return Kept(
        tuple(name for name in names if not name.startswith(ORIGIN)),
        {name: printable(str(stored[name])) for name in texts},
    )


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Open a file for reading; whatever its content raises becomes a DataError with its name."""
    try:
        if not file.is_file():
            raise ValueError("expected a file, got a folder, a pipe or a device")
        with file.open("rb") as opened:
            check_archive(opened)
            with np.load(opened, allow_pickle=False) as stored:
                yield stored
    except (DataError, MemoryError):
        raise
    except Exception as error:  # NumPy and zipfile raise many kinds of error for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"cannot read {file}, delete it and ask for these scores again: {reason}"
        ) from error
