"""Random generators, each made from (seed, purpose, epoch) and used for that purpose alone.

A resumed run therefore sees the batches that it would have seen without the interruption, and two
losses with the same seed see the same batches.
"""

import hashlib

import torch


def derived_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """A seed of 63 bits, a hash of the seed, the purpose and the epoch."""
    digest = hashlib.blake2b(f"{seed} {purpose} {epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A generator on the CPU, so that a run on a GPU sees the same draws."""
    return torch.Generator().manual_seed(derived_seed(seed, purpose, epoch))


def generator_states(device: torch.device) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The states of torch's own generators, which dropout draws from, on the CPU and on a GPU."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), cuda


def set_generator_states(
    states: tuple[torch.Tensor, torch.Tensor | None], device: torch.device
) -> None:
    """Let torch's own generators go on from these states."""
    cpu, cuda = states
    torch.set_rng_state(cpu)
    if cuda is not None and device.type == "cuda":
        torch.cuda.set_rng_state(cuda, device)
