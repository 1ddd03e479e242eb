"""Normalised cross-entropy.  Ma et al., 2020, arXiv:2006.13554."""

from xent_bench.true_scores import true_scores
from xent_bench.types import Index, Logits, PerExample


def nce(logits: Logits, target: Index) -> PerExample:
    """log p_y / sum_k log p_k with p = softmax(z); in [0, 1].

    Its sum over all labels is 1, which makes it robust to symmetric label noise.
    """
    log_p = logits.log_softmax(dim=1)
    return true_scores(log_p, target) / log_p.sum(dim=1)
