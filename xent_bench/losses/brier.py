"""Brier score, summed over classes.  Brier, 1950, Monthly Weather Review 78(1)."""

from xent_bench.types import Distribution, Logits, PerExample


def brier(logits: Logits, target: Distribution) -> PerExample:
    """sum_k (p_k - q_k)^2 with p = softmax(z); in [0, 2].

    For two classes this is twice the binary form of the score.
    """
    return (logits.softmax(dim=1) - target).square().sum(dim=1)
