"""Every random draw has an owner: a generator made from (seed, purpose, epoch).

So a resumed run sees the batches it would have seen, and two losses with one seed see the same.
"""

import hashlib

import torch


def derived_seed(seed: int, purpose: str, epoch: int = 0) -> int:
    """A seed of 63 bits that nothing else shares."""
    digest = hashlib.blake2b(f"{seed} {purpose} {epoch}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def generator(seed: int, purpose: str, epoch: int = 0) -> torch.Generator:
    """A generator on the CPU, so that a GPU run sees the same draws."""
    return torch.Generator().manual_seed(derived_seed(seed, purpose, epoch))
