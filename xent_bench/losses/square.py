"""Square loss on raw outputs, rescaled.  Hui and Belkin, 2021, arXiv:2006.07322, section 3."""

from xent_bench import links
from xent_bench.ranges import Positive
from xent_bench.true_scores import true_scores
from xent_bench.types import Index, Logits, PerExample


@links.use(links.projection)
def square(logits: Logits, target: Index, *, k: Positive = 1.0, M: Positive = 1.0) -> PerExample:  # noqa: N803  the paper's letter
    """(1/c) (k (z_y - M)^2 + sum_{j != y} z_j^2).

    k is the weight of the true class, and M is the target of its output. k = M = 1 is the mean
    squared distance to the one-hot vector.
    """
    others = logits.square().scatter(1, target[:, None], 0.0).sum(dim=1)
    hit = (true_scores(logits, target) - M).square()
    return (k * hit + others) / logits.shape[1]
