"""Sample-dependent focal loss, FLSD-53.  Mukhoti et al., 2020, arXiv:2002.09437, section 4."""

import torch
from torch.nn import functional as F

from xent_bench.types import Index, Logits, PerExample


def flsd53(logits: Logits, target: Index) -> PerExample:
    """-(1 - p_y)^gamma log p_y with gamma = 5 where p_y < 0.2, else 3, and p = softmax(z).

    gamma depends on the current p_y but counts as a constant in the gradient, and the value jumps
    at p_y = 0.2.
    """
    nll = F.cross_entropy(logits, target, reduction="none")
    doubt = -torch.expm1(-nll)  # 1 - p_y without cancellation
    return torch.where(doubt > 0.8, doubt**5, doubt**3) * nll
