"""Exchange between the processes that train one run; alone, a process gets back what it gave."""

from typing import Any

import torch
from torch import Tensor, distributed


def is_shared() -> bool:
    """Whether several processes train the run together."""
    return distributed.is_available() and distributed.is_initialized()


def gathered(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes, in their order; the numbers of rows may differ."""
    if not is_shared():
        return rows
    counts = gathered_values(len(rows))
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def gathered_columns(columns: Tensor) -> Tensor:
    """Concatenate columns: each process holds some columns of the same rows."""
    return gathered(columns.T).T if is_shared() else columns


def gathered_values(value: Any) -> list[Any]:
    """List the value of each process, in their order; anything that can be pickled."""
    if not is_shared():
        return [value]
    values: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


def agreed(value: int) -> int:
    """Take the first process's value in every process."""
    return int(gathered_values(value)[0])
