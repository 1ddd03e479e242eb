"""Symmetric cross-entropy.  Wang et al., 2019, arXiv:1908.06112."""

import torch
from torch.nn import functional as F

from xent_bench.ranges import Negative, NonNegative
from xent_bench.types import Index, Logits, PerExample


def sce(
    logits: Logits,
    target: Index,
    *,
    alpha: NonNegative = 0.1,
    beta: NonNegative = 1.0,
    A: Negative = -4.0,  # noqa: N803  the paper's letter
) -> PerExample:
    """-alpha log p_y - beta A (1 - p_y) with p = softmax(z).

    The second term is cross-entropy with target and output exchanged; A replaces log 0. The
    authors' code uses A = log 1e-4 = -9.21.
    """
    nll = F.cross_entropy(logits, target, reduction="none")
    return alpha * nll + beta * A * torch.expm1(-nll)
