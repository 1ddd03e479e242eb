"""Kullback-Leibler divergence from the outputs to the target.  Kullback and Leibler, 1951."""

from torch.nn import functional as F

from xent_bench.types import Distribution, Logits, PerExample


def kl(logits: Logits, target: Distribution) -> PerExample:
    """sum_k q_k log(q_k / p_k) where 0 log 0 = 0, in nats, with p = softmax(z).

    ce less the entropy of q, which no weight can change: the same gradient, and the same value
    on one-hot q. At least 0, reached at p = q.
    """
    return F.kl_div(logits.log_softmax(dim=1), target, reduction="none").sum(dim=1)
