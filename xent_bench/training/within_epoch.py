"""The state of an epoch that is interrupted: losses, time and generators, for the checkpoint."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from xent_bench.data.batches import Share
from xent_bench.process.gather import gathered_columns, gathered_values
from xent_bench.randomness import generator_states, set_generator_states

KEY = "within_epoch"


class WithinEpoch(NamedTuple):
    """State that Lightning does not keep. Which examples come next follows from the steps taken."""

    losses: Tensor  # (steps so far, examples of a batch)
    seconds: float  # since the epoch's start
    # for each process the states of torch's generators, which dropout uses, on CPU and GPU
    generators: list[tuple[Tensor, Tensor | None]]

    def restored(self, share: Share, device: torch.device) -> list[Tensor]:
        """Restore the generators; return the losses of this process's share of each batch."""
        set_generator_states(self.generators[share.number % len(self.generators)], device)
        return list(self.losses.chunk(share.of, dim=1)[share.number].to(device))


def keep(checkpoint: dict[str, Any], losses: list[Tensor], seconds: float) -> None:
    """Put the state between two steps into the checkpoint, as plain values and tensors."""
    states = generator_states(losses[0].device)
    state = WithinEpoch(
        gathered_columns(torch.stack(losses)).contiguous(),
        seconds,
        gathered_values(states),
    )
    checkpoint[KEY] = state._asdict()


def kept(checkpoint: dict[str, Any]) -> WithinEpoch | None:
    """The state that a checkpoint holds; None if it was saved at the end of an epoch."""
    return WithinEpoch(**checkpoint[KEY]) if KEY in checkpoint else None


class LossBlock:
    """One block of memory for the losses of all steps of an epoch, on a CPU.

    Small tensors that are kept among the large ones of each step keep the C library from joining
    what is freed between them: 0.5 MB a step were lost with 2,000 classes. PyTorch divides a GPU's
    memory otherwise.
    """

    def __init__(self, steps: int) -> None:
        """Make room for so many steps when the first losses have come."""
        self.steps = steps
        self.rows: Tensor | None = None

    def put(self, step: int, losses: Tensor) -> Tensor:
        """Return the losses (n,) of a step, copied beside those of the other steps."""
        if losses.device.type != "cpu":
            return losses
        if self.rows is None:
            self.rows = torch.empty((self.steps, len(losses)), dtype=losses.dtype)
        return self.rows[step].copy_(losses)
