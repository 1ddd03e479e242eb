"""Cross-entropy weighted by class.  King and Zeng, 2001, Political Analysis 9(2)."""

from torch.nn import functional as F

from xent_bench.types import ClassCounts, Index, Logits, PerExample


def weighted_ce(logits: Logits, target: Index, *, class_counts: ClassCounts) -> PerExample:
    """-(n / (c n_y)) log p_y with n_k the class counts, n their sum, and p = softmax(z).

    The weights make all classes count equally; their mean over the train split is 1. On balanced
    classes this is sparse_ce.
    """
    counts = class_counts.to(logits.dtype)
    weight = counts.mean() / counts
    return weight[target] * F.cross_entropy(logits, target, reduction="none")
