"""Huber's loss on raw outputs.  Huber, 1964, Annals of Mathematical Statistics 35(1)."""

from torch.nn import functional as F

from xent_bench import links
from xent_bench.ranges import Positive
from xent_bench.types import Distribution, Logits, PerExample


@links.use(links.simplex)
def huber(logits: Logits, target: Distribution, *, delta: Positive = 1.0) -> PerExample:
    """(1/c) sum_k h(z_k - q_k) with h(d) = d^2/2 if |d| <= delta, else delta (|d| - delta/2).

    Half the squared distance near q, linear far from it. On probabilities, delta = 1 would be
    half of mse everywhere; on raw outputs it is not.
    """
    return F.huber_loss(logits, target, reduction="none", delta=delta).mean(dim=1)
