"""Poly-1 cross-entropy.  Leng et al., 2022, arXiv:2204.12511."""

import torch
from torch.nn import functional as F

from xent_bench.ranges import FromMinusOne
from xent_bench.types import Index, Logits, PerExample


def poly1(logits: Logits, target: Index, *, epsilon: FromMinusOne = 1.0) -> PerExample:
    """-log p_y + epsilon (1 - p_y) with p = softmax(z).

    epsilon = 0 is sparse_ce. Below -1 the loss would rise with p_y where p_y is near 1.
    """
    nll = F.cross_entropy(logits, target, reduction="none")
    return nll - epsilon * torch.expm1(-nll)
