"""What an epoch has come to when a run is interrupted within it: a part of the checkpoint."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from xent_bench.data.batches import Part
from xent_bench.process.gather import gathered_columns, gathered_values

KEY = "within_epoch"


class WithinEpoch(NamedTuple):
    """Beside Lightning's own: which examples come next follows from the number of steps."""

    losses: Tensor  # (steps so far, examples of a batch)
    seconds: float  # since the epoch's start
    generators: list[tuple[Tensor, Tensor | None]]  # torch's, which dropout draws from: each
    # process's state on the CPU and on its GPU

    def restored(self, part: Part, device: torch.device) -> list[Tensor]:
        """The losses of a part of each batch, once the generators are as they were."""
        cpu, cuda = self.generators[part.number % len(self.generators)]
        torch.set_rng_state(cpu)
        if cuda is not None and device.type == "cuda":
            torch.cuda.set_rng_state(cuda, device)
        return list(self.losses.chunk(part.of, dim=1)[part.number].to(device))


def keep(checkpoint: dict[str, Any], losses: list[Tensor], seconds: float) -> None:
    """Between two steps, as plain values and tensors."""
    device = losses[0].device
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    state = WithinEpoch(
        gathered_columns(torch.stack(losses)).contiguous(),
        seconds,
        gathered_values((torch.get_rng_state(), cuda)),
    )
    checkpoint[KEY] = state._asdict()


def kept(checkpoint: dict[str, Any]) -> WithinEpoch | None:
    """None of a checkpoint at an epoch's end."""
    return WithinEpoch(**checkpoint[KEY]) if KEY in checkpoint else None
