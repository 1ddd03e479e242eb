"""Poly-1 cross-entropy.  Leng et al., 2022, arXiv:2204.12511."""

from typing import Annotated

import torch
from annotated_types import Ge
from torch.nn import functional as F

from xent_bench.types import Index, Logits, PerExample


def poly1(logits: Logits, target: Index, *, epsilon: Annotated[float, Ge(-1)] = 1.0) -> PerExample:
    """-log p_y + epsilon (1 - p_y) with p = softmax(z).

    epsilon = 0 is sparse_ce. Below -1 the loss would rise with p_y where p_y is near 1.
    """
    nll = F.cross_entropy(logits, target, reduction="none")
    return nll - epsilon * torch.expm1(-nll)
