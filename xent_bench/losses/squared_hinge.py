"""Multi-class squared hinge.  Lee and Lin, 2013, Neural Computation 25(5)."""

from xent_bench import links
from xent_bench.ranges import Positive
from xent_bench.true_scores import true_scores
from xent_bench.types import Index, Logits, PerExample


@links.use(links.margin)
def squared_hinge(logits: Logits, target: Index, *, margin: Positive = 1.0) -> PerExample:
    """max(0, margin + max_{j != y} z_j - z_y)^2.

    This is the square of hinge: smooth at the margin, where hinge has a kink.
    """
    rival = logits.scatter(1, target[:, None], -float("inf")).amax(dim=1)
    return (margin + rival - true_scores(logits, target)).clamp_min(0).square()
