"""Huber's loss on raw outputs.  Huber, 1964, Annals of Mathematical Statistics 35(1)."""

from torch.nn import functional as F

from xent_bench import links
from xent_bench.ranges import Positive
from xent_bench.types import Distribution, Logits, PerExample


@links.use(links.simplex)
def huber(logits: Logits, target: Distribution, *, delta: Positive = 1.0) -> PerExample:
    """(1/c) sum_k h(z_k - q_k) with h(d) = d^2/2 if |d| <= delta, else delta (|d| - delta/2).

    It is half the squared distance near q and linear far from it. If z were probabilities, the
    loss with delta = 1 would be half of mse everywhere; raw outputs can be farther than 1 from q.
    """
    return F.huber_loss(logits, target, reduction="none", delta=delta).mean(dim=1)
