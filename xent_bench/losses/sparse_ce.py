"""Cross-entropy against the index of the true class: the log score of Good, 1952."""

from torch.nn import functional as F

from xent_bench.types import Index, Logits, PerExample


def sparse_ce(logits: Logits, target: Index) -> PerExample:
    """-log p_y, in nats, with p = softmax(z).

    0 only for a certain, right answer; log c for the uniform one.
    """
    return F.cross_entropy(logits, target, reduction="none")
