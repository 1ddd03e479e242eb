"""Logit-adjusted cross-entropy.  Menon et al., 2021, arXiv:2007.07314."""

from torch.nn import functional as F

from xent_bench.ranges import NonNegative
from xent_bench.types import ClassCounts, Index, Logits, PerExample


def logit_adjustment(
    logits: Logits, target: Index, *, class_counts: ClassCounts, tau: NonNegative = 1.0
) -> PerExample:
    """-log softmax(z + tau log pi)_y, in nats, with pi the class frequencies.

    tau = 0 is sparse_ce, tau = 1 is balanced_softmax.
    """
    counts = class_counts.to(logits.dtype)
    prior = counts / counts.sum()
    return F.cross_entropy(logits + tau * prior.log(), target, reduction="none")
