"""Multi-class hinge, summed over rivals.  Weston and Watkins, 1999, ESANN."""

from xent_bench import links
from xent_bench.ranges import Positive
from xent_bench.true_scores import true_scores
from xent_bench.types import Index, Logits, PerExample


@links.use(links.margin)
def weston_watkins(logits: Logits, target: Index, *, margin: Positive = 1.0) -> PerExample:
    """sum_{j != y} max(0, margin - z_y + z_j).

    It is c times PyTorch's MultiMarginLoss. With two classes it is hinge.
    """
    excess = (margin - true_scores(logits, target)[:, None] + logits).clamp_min(0)
    return excess.scatter(1, target[:, None], 0.0).sum(dim=1)
