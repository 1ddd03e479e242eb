"""Normalised cross-entropy plus mean absolute error.  Ma et al., 2020, arXiv:2006.13554."""

from xent_bench.ranges import NonNegative
from xent_bench.true_scores import true_scores
from xent_bench.types import Index, Logits, PerExample


def nce_mae(
    logits: Logits, target: Index, *, alpha: NonNegative = 1.0, beta: NonNegative = 1.0
) -> PerExample:
    """alpha log p_y / sum_k log p_k + beta (1 - p_y) with p = softmax(z); in [0, alpha + beta].

    The paper calls the first term an active loss and the second a passive loss. The second is half
    of mae, as in the authors' code.
    """
    log_p = logits.log_softmax(dim=1)
    log_p_y = true_scores(log_p, target)
    return alpha * log_p_y / log_p.sum(dim=1) - beta * log_p_y.expm1()
