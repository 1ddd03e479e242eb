"""Categorical hinge, in the form that Keras (Chollet et al., 2015) documents."""

from xent_bench import links
from xent_bench.true_scores import true_scores
from xent_bench.types import Index, Logits, PerExample


@links.use(links.margin)
def categorical_hinge(logits: Logits, target: Index) -> PerExample:
    """max(0, max_k((1 - e_k) z_k) - z_y + 1) with e the one-hot vector of y.

    The inner maximum contains a 0 in the place of the true class. If all other outputs are
    negative, this loss therefore differs from hinge: it is 0 only for z_y >= 1.
    """
    rival = logits.scatter(1, target[:, None], 0.0).amax(dim=1)
    return (rival - true_scores(logits, target) + 1).clamp_min(0)
