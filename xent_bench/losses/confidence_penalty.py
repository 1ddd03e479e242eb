"""Cross-entropy that rewards the entropy of the output.  Pereyra et al., 2017, arXiv:1701.06548."""

from xent_bench.ranges import NonNegative
from xent_bench.true_scores import true_scores
from xent_bench.types import Index, Logits, PerExample


def confidence_penalty(logits: Logits, target: Index, *, beta: NonNegative = 0.1) -> PerExample:
    """-log p_y + beta sum_k p_k log p_k, in nats, with p = softmax(z).

    beta = 0 is sparse_ce. The loss can be negative; it is at least -beta log c.
    """
    log_p = logits.log_softmax(dim=1)
    negative_entropy = (log_p.exp() * log_p).sum(dim=1)
    return beta * negative_entropy - true_scores(log_p, target)
