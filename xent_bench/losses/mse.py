"""Mean squared error of the softmax probabilities: the score of Brier, 1950, divided by c."""

from xent_bench.types import Distribution, Logits, PerExample


def mse(logits: Logits, target: Distribution) -> PerExample:
    """(1/c) sum_k (p_k - q_k)^2 with p = softmax(z); in [0, 2/c].

    Its gradient vanishes for a confident wrong answer; that of cross-entropy does not.
    """
    return (logits.softmax(dim=1) - target).square().mean(dim=1)
