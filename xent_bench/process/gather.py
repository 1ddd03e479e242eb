"""What the processes that train a run together know between them; one process knows it all."""

from typing import Any

import torch
from torch import Tensor, distributed


def is_shared() -> bool:
    """Whether there are several."""
    return distributed.is_available() and distributed.is_initialized()


def gathered(rows: Tensor) -> Tensor:
    """The rows of all, one process's after the other's; their numbers may differ."""
    if not is_shared():
        return rows
    counts = gathered_values(len(rows))
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def gathered_columns(columns: Tensor) -> Tensor:
    """The same of what each knows of every row."""
    return gathered(columns.T).T if is_shared() else columns


def gathered_values(value: Any) -> list[Any]:
    """Of each process in turn, whatever can be pickled."""
    if not is_shared():
        return [value]
    found: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, value)
    return found


def agreed(value: int) -> int:
    """The first process's."""
    return int(gathered_values(value)[0])
