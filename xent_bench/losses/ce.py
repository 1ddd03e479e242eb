"""Cross-entropy against a distribution.  Shannon, 1948; Good, 1952."""

from torch.nn import functional as F

from xent_bench.types import Distribution, Logits, PerExample


def ce(logits: Logits, target: Distribution) -> PerExample:
    """-sum_k q_k log p_k, in nats, with p = softmax(z).

    It equals H(q) + KL(q, p), so its minimum is the entropy of q, at p = q. For one-hot q it is
    sparse_ce.
    """
    return F.cross_entropy(logits, target, reduction="none")
