"""Cross-entropy against the index of the true class: the log score of Good, 1952."""

from torch.nn import functional as F

from xent_bench.types import Index, Logits, PerExample


def sparse_ce(logits: Logits, target: Index) -> PerExample:
    """-log p_y, in nats, with p = softmax(z).

    It is 0 only for a certain and correct answer, and log c for the uniform answer.
    """
    return F.cross_entropy(logits, target, reduction="none")
