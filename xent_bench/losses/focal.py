"""Focal loss, multi-class.  Lin et al., arXiv:1708.02002; Mukhoti et al., arXiv:2002.09437."""

import torch
from torch.nn import functional as F

from xent_bench.ranges import NonNegative
from xent_bench.types import Index, Logits, PerExample


def focal(logits: Logits, target: Index, *, gamma: NonNegative = 2.0) -> PerExample:
    """-(1 - p_y)^gamma log p_y, in nats, with p = softmax(z).

    gamma = 0 is sparse_ce. The gradient flows through both factors.
    """
    nll = F.cross_entropy(logits, target, reduction="none")
    # 1 - p_y without cancellation, kept above 0, where a power below 1 has an infinite slope
    doubt = (-torch.expm1(-nll)).clamp_min(torch.finfo(nll.dtype).tiny)
    return doubt**gamma * nll
