"""What an epoch has come to when a run is interrupted within it: a part of the checkpoint."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class WithinEpoch(NamedTuple):
    """Beside Lightning's own: which examples come next follows from the number of steps."""

    losses: Tensor  # of each step so far, and each example of its batch
    seconds: float  # since the epoch's start
    cpu: Tensor  # state of torch's generator, which dropout draws from
    cuda: Tensor | None  # the same of the GPU

    @classmethod
    def now(cls, losses: list[Tensor], seconds: float) -> "WithinEpoch":
        """Between two steps."""
        device = losses[0].device
        on_gpu = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return cls(torch.stack(losses), seconds, torch.get_rng_state(), on_gpu)

    def restored(self, device: torch.device) -> list[Tensor]:
        """The losses, once the generators are as they were."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None and device.type == "cuda":
            torch.cuda.set_rng_state(self.cuda, device)
        return list(self.losses.to(device))


KEY = "within_epoch"


def keep(checkpoint: dict[str, Any], state: WithinEpoch) -> None:
    """As plain values and tensors."""
    checkpoint[KEY] = state._asdict()


def kept(checkpoint: dict[str, Any]) -> WithinEpoch | None:
    """None of a checkpoint at an epoch's end."""
    return WithinEpoch(**checkpoint[KEY]) if KEY in checkpoint else None
