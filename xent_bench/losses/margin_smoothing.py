"""Margin-based label smoothing.  Liu et al., 2022, arXiv:2111.15430."""

from torch.nn import functional as F

from xent_bench.ranges import NonNegative
from xent_bench.types import Index, Logits, PerExample


def margin_smoothing(
    logits: Logits, target: Index, *, alpha: NonNegative = 0.1, margin: NonNegative = 10.0
) -> PerExample:
    """-log p_y + (alpha/c) sum_k max(0, max_j z_j - z_k - margin) with p = softmax(z).

    Distances from the largest logit that exceed the margin are penalised; if none does, this is
    sparse_ce.
    """
    nll = F.cross_entropy(logits, target, reduction="none")
    distance = logits.amax(dim=1, keepdim=True) - logits
    return nll + alpha * (distance - margin).clamp_min(0).mean(dim=1)
