"""Rows of features in place of images, mapped from files where these allow it.

To a net and to everything else a row of d numbers is an image of d channels and 1 x 1 pixel.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from xent_bench.data.file_hashes import file_hashes
from xent_bench.data.image_files import shown
from xent_bench.failures import DataError
from xent_bench.types import Index

Normalise: TypeAlias = Literal["none", "standard", "unit"]

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
CHUNK = 8192  # rows that are looked at together: some MB, which the processor's cache nearly holds
NAMED = 10  # bad rows that a refusal names


@dataclass(frozen=True)
class Vectors:
    """Rows of numbers, the rows of one tensor after those of the other, with their views.

    Tensors that are mapped from files take no memory of the process: the system reads the pages
    that are touched, and several processes share them. `views` has, for each of `parts`, several
    augmented versions of each row, of which training draws one; it is empty where there are none.
    """

    parts: tuple[Tensor, ...]  # each (n, d) in float16, bfloat16 or float32
    views: tuple[Tensor, ...] = ()  # each (n, views, d)
    files: tuple[Path, ...] = ()  # that hold all of it
    arrays: str = ""  # which arrays of the files are used
    names: np.ndarray | None = None  # of the images that the rows are made of, as bytes or text
    normalise: Normalise = "none"  # standard: by the moments of train; unit: to length 1

    def __post_init__(self) -> None:
        """Refuse tensors that do not fit together."""
        widths = {int(part.shape[-1]) for part in (*self.parts, *self.views)}
        if len(widths) != 1:
            raise DataError(f"expected rows of one length, got {' and '.join(map(str, widths))}")
        for part in (*self.parts, *self.views):
            if part.dtype not in DTYPES:
                raise DataError(f"expected features in float16 or float32, got {part.dtype}")
        if widths == {0} or not len(self):
            raise DataError("expected rows with numbers, got none")

    def __len__(self) -> int:
        """Number of rows."""
        return sum(map(len, self.parts))

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d, 1, 1), the shape of a tensor of images."""
        return len(self), int(self.parts[0].shape[-1]), 1, 1

    def name_of(self, number: int) -> str:
        """The name of the image behind a row, or 'row 17', counted from 0."""
        if self.names is None:
            return f"row {number}"
        name = self.names[number]
        return shown(os.fsdecode(name) if isinstance(name, bytes) else str(name))

    def take(self, ids: Index, view: Index | None = None) -> Shaped[Tensor, "n d"]:
        """Copy rows to memory: the plain ones, or of each the view with the given number."""
        if view is None:
            return _take(self.parts, ids)
        several = self.views[0].shape[1]
        flat = tuple(part.flatten(0, 1) for part in self.views)
        return _take(flat, ids * several + view)

    def chunks(self) -> Iterator[Shaped[Tensor, "m d"]]:
        """All plain rows, some thousand at a time, without a copy."""
        for part in self.parts:
            yield from torch.split(part, CHUNK)

    def check(self) -> None:
        """Raise a DataError that counts the rows with NaN or infinity, and names some."""
        bad = _rows_with_infinities(self.parts) or _rows_with_infinities(self.views)
        if bad:
            numbers = ", ".join(f"{number:,}" for number in bad[:NAMED])
            raise DataError(
                f"{len(bad):,} of {len(self):,} rows hold NaN or infinity: rows {numbers}"
                f"{', ...' * (len(bad) > NAMED)}, counted from 0{_in(self.files)}"
            )

    def sha256(self) -> str:
        """A hash of the files' bytes, which are read once and then remembered; else of the rows."""
        content = hashlib.sha256(self.arrays.encode())
        for file in self.files:
            content.update(self._hash_of[file])
        for part in () if self.files else (*self.parts, *self.views):
            for rows in torch.split(part, CHUNK):
                content.update(_bytes_of(rows))
        return content.hexdigest()

    @cached_property
    def _hash_of(self) -> dict[Path, bytes]:
        return {
            file: file_hashes(file.parent, np.array([os.fsencode(file.name)])).hashes.tobytes()
            for file in self.files
        }

    def moments(self, ids: Index) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (d,) of each feature over these rows; 1 for a constant one.

        In two passes, chunk by chunk: the difference of large sums would lose digits.
        """
        mean = sum(self.take(rows).double().sum(dim=0) for rows in torch.split(ids, CHUNK)) / len(
            ids
        )
        squares = sum(
            (self.take(rows).double() - mean).square().sum(dim=0)
            for rows in torch.split(ids, CHUNK)
        )
        std = torch.as_tensor(squares / max(1, len(ids) - 1)).sqrt()
        return torch.as_tensor(mean).float(), torch.where(std > 0, std, 1.0).float()


def unit_length(rows: Tensor) -> Tensor:
    """Each row divided by its Euclidean length; a row of zeros stays zeros."""
    length: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / length.clamp_min(1e-12)


def mapped(array: np.ndarray) -> Tensor:
    """A tensor over the memory of an array, which may be a file's map that nobody may write to."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that a write would be undefined; none is done
        return torch.from_numpy(array)


def content_bytes(vectors: Vectors) -> Iterator[memoryview]:
    """The bytes of each plain row, one after the other."""
    for rows in vectors.chunks():
        content = memoryview(_bytes_of(rows))
        width = len(content) // len(rows)
        for start in range(0, len(content), width):
            yield content[start : start + width]


def _take(parts: Sequence[Tensor], ids: Index) -> Tensor:
    if len(parts) == 1:
        return parts[0].index_select(0, ids)
    ends = torch.tensor([len(part) for part in parts]).cumsum(0)
    which = torch.bucketize(ids, ends, right=True)
    if len(ids) and bool((which == which[0]).all()):  # as a split that is a file of its own
        number = int(which[0])
        return parts[number].index_select(0, ids - (ends[number] - len(parts[number])))
    dtype = parts[0].dtype if len({part.dtype for part in parts}) == 1 else torch.float32
    out = torch.empty(len(ids), parts[0].shape[-1], dtype=dtype)
    for number, part in enumerate(parts):
        chosen = which == number
        first = ends[number] - len(part)
        out[chosen] = part.index_select(0, ids[chosen] - first).to(dtype)
    return out


def _rows_with_infinities(parts: Sequence[Tensor]) -> list[int]:
    bad: list[int] = []
    before = 0
    for part in parts:
        for rows in torch.split(part, CHUNK):
            # one pass without a copy; isfinite would make one, and takes twenty times as long
            if not all(bool(end.isfinite()) for end in torch.aminmax(rows)):
                is_bad = ~rows.flatten(1).isfinite().all(dim=1)
                bad += (is_bad.nonzero().flatten() + before).tolist()
            before += len(rows)
    return bad


def _in(files: Sequence[Path]) -> str:
    return f", in {', '.join(shown(file) for file in files)}" if files else ""


def _bytes_of(rows: Tensor) -> bytes:
    return rows.contiguous().view(torch.uint8).numpy().tobytes()
