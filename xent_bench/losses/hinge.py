"""Multi-class hinge.  Crammer and Singer, 2001, JMLR 2."""

from xent_bench import links
from xent_bench.ranges import Positive
from xent_bench.true_scores import true_scores
from xent_bench.types import Index, Logits, PerExample


@links.use(links.margin)
def hinge(logits: Logits, target: Index, *, margin: Positive = 1.0) -> PerExample:
    """max(0, margin + max_{j != y} z_j - z_y).

    It is 0 if the true class leads by the margin. PyTorch's MultiMarginLoss is a different loss:
    it sums over j instead of taking the maximum.
    """
    rival = logits.scatter(1, target[:, None], -float("inf")).amax(dim=1)
    return (margin + rival - true_scores(logits, target)).clamp_min(0)
