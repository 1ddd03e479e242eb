"""Columns of a Parquet file as arrays: numbers, texts, and lists of numbers of one length."""

from pathlib import Path
from typing import Any

import numpy as np

from xent_bench.data.image_files import shown
from xent_bench.failures import DataError


def column_values(column: Any, file: Path, name: str) -> np.ndarray:
    """A column of numbers, texts or lists of numbers as an array."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if _is_list(kind):
        return matrix(column, file, name)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return np.array(column.to_pylist(), dtype=str)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"expected numbers or text in {name} of {shown(file)}, got {kind}")
    numbers: np.ndarray = column.to_numpy(zero_copy_only=False)
    return numbers


def matrix(column: Any, file: Path, name: str) -> np.ndarray:
    """The rows (n, d) of a column of lists of one length."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if not _is_list(kind) or not (
        pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
    ):
        raise DataError(f"expected lists of numbers in {name} of {shown(file)}, got {kind}")
    values = column.flatten()
    if column.null_count or values.null_count:
        raise DataError(f"expected no missing values in {name} of {shown(file)}")
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) > 1:
        raise DataError(
            f"expected lists of one length in {name} of {shown(file)}, got {min(lengths)} to "
            f"{max(lengths)}"
        )
    flat: np.ndarray = values.to_numpy(zero_copy_only=False)
    return flat.reshape(len(column), -1)


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
