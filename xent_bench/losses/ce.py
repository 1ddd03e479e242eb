"""Cross-entropy against a distribution.  Shannon, 1948; Good, 1952."""

from torch.nn import functional as F

from xent_bench.types import Distribution, Logits, PerExample


def ce(logits: Logits, target: Distribution) -> PerExample:
    """-sum_k q_k log p_k, in nats, with p = softmax(z).

    H(q) + KL(q, p): at least the entropy of q, reached at p = q. On one-hot q it is sparse_ce.
    """
    return F.cross_entropy(logits, target, reduction="none")
