"""Label-distribution-aware margin loss.  Cao et al., 2019, arXiv:1906.07413."""

from torch.nn import functional as F

from xent_bench.ranges import Positive
from xent_bench.types import ClassCounts, Index, Logits, PerExample


def ldam(
    logits: Logits, target: Index, *, class_counts: ClassCounts, max_margin: Positive = 0.5
) -> PerExample:
    """-log softmax(z - D)_y with D_y = max_margin (min_k n_k / n_y)^(1/4), D_k = 0 elsewhere.

    The rarest class gets the largest margin. The authors also normalise features and weights of
    the last layer and multiply the resulting cosines by 30; this loss uses outputs as they are.
    """
    counts = class_counts.to(logits.dtype)
    margin = max_margin * (counts.min() / counts) ** 0.25
    true_class = F.one_hot(target, logits.shape[1])
    return F.cross_entropy(logits - true_class * margin, target, reduction="none")
