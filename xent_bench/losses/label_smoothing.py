"""Cross-entropy against smoothed targets.  Szegedy et al., 2016, arXiv:1512.00567, section 7."""

from torch.nn import functional as F

from xent_bench.ranges import Fraction
from xent_bench.types import Distribution, Logits, PerExample


def label_smoothing(
    logits: Logits, target: Distribution, *, smoothing: Fraction = 0.1
) -> PerExample:
    """-sum_k ((1 - smoothing) q_k + smoothing / c) log p_k, in nats, with p = softmax(z).

    smoothing = 0 is ce. The mass `smoothing` is shared among all c classes, the true class
    included. Papers that share it among the other classes only mean (c - 1) / c times this value.
    """
    return F.cross_entropy(logits, target, reduction="none", label_smoothing=smoothing)
