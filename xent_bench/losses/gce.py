"""Generalised cross-entropy.  Zhang and Sabuncu, 2018, arXiv:1805.07836."""

import torch
from torch.nn import functional as F

from xent_bench.ranges import PositiveFraction
from xent_bench.types import Index, Logits, PerExample


def gce(logits: Logits, target: Index, *, q: PositiveFraction = 0.7) -> PerExample:
    """(1 - p_y^q) / q with p = softmax(z); in [0, 1/q].

    q = 1 is half of mae; the limit q to 0 is sparse_ce. Value and gradient stay finite when p_y
    underflows.
    """
    nll = F.cross_entropy(logits, target, reduction="none")
    return -torch.expm1(-q * nll) / q
