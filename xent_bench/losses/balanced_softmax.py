"""Balanced softmax.  Ren et al., 2020, arXiv:2007.10740."""

from torch.nn import functional as F

from xent_bench.types import ClassCounts, Index, Logits, PerExample


def balanced_softmax(logits: Logits, target: Index, *, class_counts: ClassCounts) -> PerExample:
    """-log(n_y exp z_y / sum_k n_k exp z_k), in nats, with n_k the class counts.

    After training, softmax(z) estimates the probabilities for a test set where all classes are
    equally frequent. On balanced classes this loss is sparse_ce.
    """
    counts = class_counts.to(logits.dtype)
    return F.cross_entropy(logits + counts.log(), target, reduction="none")
