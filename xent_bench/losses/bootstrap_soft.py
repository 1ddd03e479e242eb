"""Soft bootstrapping.  Reed et al., 2015, arXiv:1412.6596."""

from xent_bench.ranges import Fraction
from xent_bench.true_scores import true_scores
from xent_bench.types import Index, Logits, PerExample


def bootstrap_soft(logits: Logits, target: Index, *, beta: Fraction = 0.95) -> PerExample:
    """-sum_k (beta e_k + (1 - beta) p_k) log p_k, in nats, with p = softmax(z).

    e is the one-hot vector of y. The target mixes the label with the net's own prediction p, and
    the gradient flows through both p. beta = 1 is sparse_ce.
    """
    log_p = logits.log_softmax(dim=1)
    entropy = -(log_p.exp() * log_p).sum(dim=1)
    return (1 - beta) * entropy - beta * true_scores(log_p, target)
