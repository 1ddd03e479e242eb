"""Dual focal loss.  Tao et al., 2023, arXiv:2305.13665."""

import torch
from torch.nn import functional as F

from xent_bench.ranges import NonNegative
from xent_bench.types import Index, Logits, PerExample


def dual_focal(logits: Logits, target: Index, *, gamma: NonNegative = 5.0) -> PerExample:
    """-(1 - p_y + p_j)^gamma log p_y with p_j the largest p_k below p_y, and p = softmax(z).

    p_j is 0 if no class has a smaller probability than the true class, so it is not always the
    second largest probability. The gradient flows through p_j too. gamma = 0 is sparse_ce.
    """
    nll = F.cross_entropy(logits, target, reduction="none")
    p = logits.softmax(dim=1)
    below = torch.where(p < p.gather(1, target[:, None]), p, 0.0).amax(dim=1)
    # 1 - p_y without cancellation, kept above 0, where a power below 1 has an infinite slope
    doubt = (-torch.expm1(-nll) + below).clamp_min(torch.finfo(nll.dtype).tiny)
    return doubt**gamma * nll
