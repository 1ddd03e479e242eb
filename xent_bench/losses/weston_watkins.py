"""Multi-class hinge, summed over rivals.  Weston and Watkins, 1999, ESANN."""

from xent_bench import links
from xent_bench.ranges import Positive
from xent_bench.types import Index, Logits, PerExample


@links.use(links.margin)
def weston_watkins(logits: Logits, target: Index, *, margin: Positive = 1.0) -> PerExample:
    """sum_{j != y} max(0, margin - z_y + z_j).

    It is c times PyTorch's MultiMarginLoss. With two classes it is hinge.
    """
    true_class = target[:, None]
    excess = (margin - logits.gather(1, true_class) + logits).clamp_min(0)
    return excess.scatter(1, true_class, 0.0).sum(dim=1)
