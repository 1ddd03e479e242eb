"""Normalised plus reverse cross-entropy.  Ma et al., 2020, arXiv:2006.13554."""

import math

from xent_bench.ranges import NonNegative
from xent_bench.true_scores import true_scores
from xent_bench.types import Index, Logits, PerExample

LOG_ZERO = math.log(1e-4)  # the authors' A: they clamp the one-hot label at 1e-4


def nce_rce(
    logits: Logits, target: Index, *, alpha: NonNegative = 1.0, beta: NonNegative = 1.0
) -> PerExample:
    """alpha log p_y / sum_k log p_k - beta A (1 - p_y) with A = log 1e-4 and p = softmax(z).

    The paper calls the first term an active loss and the second a passive loss. The second is
    cross-entropy with target and output exchanged.
    """
    log_p = logits.log_softmax(dim=1)
    log_p_y = true_scores(log_p, target)
    return alpha * log_p_y / log_p.sum(dim=1) + beta * LOG_ZERO * log_p_y.expm1()
