"""Mean absolute error of the softmax probabilities.  Ghosh et al., 2017, arXiv:1712.09482."""

from xent_bench.types import Distribution, Logits, PerExample


def mae(logits: Logits, target: Distribution) -> PerExample:
    """sum_k |p_k - q_k| with p = softmax(z); in [0, 2].

    For one-hot q it equals 2 (1 - p_y). Its sum over all labels is constant, which makes it robust
    to symmetric label noise. Its gradient is small if p_y is small, so training is slow with many
    classes.
    """
    return (logits.softmax(dim=1) - target).abs().sum(dim=1)
