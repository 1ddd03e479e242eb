"""Taylor cross-entropy.  Feng et al., 2020, IJCAI, "Can cross entropy loss be robust?"."""

import torch
from torch.nn import functional as F

from xent_bench.ranges import TermCount
from xent_bench.types import Index, Logits, PerExample


def taylor_ce(logits: Logits, target: Index, *, t: TermCount = 2) -> PerExample:
    """sum_{i=1..t} (1 - p_y)^i / i with p = softmax(z).

    These are the first t terms of the Taylor series of -log p_y around p_y = 1. t = 1 is half of
    mae; the limit of large t is sparse_ce.
    """
    doubt = -torch.expm1(-F.cross_entropy(logits, target, reduction="none"))
    total = torch.zeros_like(doubt)
    for i in range(t, 0, -1):  # Horner's rule
        total = doubt * (1 / i + total)
    return total
