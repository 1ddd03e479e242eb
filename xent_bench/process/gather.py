"""Exchange between the processes that train one run; alone, a process gets back what it gave."""

from typing import Any

import torch
from torch import Tensor, distributed


def is_shared() -> bool:
    """Whether several processes train the run together."""
    return distributed.is_available() and distributed.is_initialized()


def gathered(rows: Tensor) -> Tensor:
    """Concatenate the rows of all processes, in their order; the numbers of rows may differ.

    The result lies where the rows lie. They may lie on a device that the group cannot reach:
    Lightning moves predictions to the CPU, and NCCL exchanges between GPUs only.
    """
    if not is_shared():
        return rows
    counts = gathered_values(len(rows))
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    padded = padded.to(reached(rows.device, distributed.get_backend_config()))
    parts = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(parts, padded)
    shares = [part[:count].to(rows.device) for part, count in zip(parts, counts, strict=True)]
    return torch.cat(shares)


def reached(device: torch.device, backends: str) -> torch.device:
    """Return `device` if the group exchanges its tensors, else the first device that it reaches.

    `backends`: those of the group as torch lists them, such as "cpu:gloo,cuda:nccl".
    """
    kinds = [backend.partition(":")[0] for backend in backends.split(",")]
    return device if device.type in kinds else torch.device(kinds[0])


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
