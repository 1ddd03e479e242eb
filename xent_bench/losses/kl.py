"""Kullback-Leibler divergence from the outputs to the target.  Kullback and Leibler, 1951."""

from torch.nn import functional as F

from xent_bench.types import Distribution, Logits, PerExample


def kl(logits: Logits, target: Distribution) -> PerExample:
    """sum_k q_k log(q_k / p_k) where 0 log 0 = 0, in nats, with p = softmax(z).

    It equals ce minus the entropy of q, which does not depend on the net: the gradient is that of
    ce, and so is the value for one-hot q. The minimum is 0, at p = q.
    """
    return F.kl_div(logits.log_softmax(dim=1), target, reduction="none").sum(dim=1)
