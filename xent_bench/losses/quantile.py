"""Quantile (pinball) loss on raw outputs.  Koenker and Bassett, 1978, Econometrica 46(1)."""

import torch

from xent_bench import links
from xent_bench.ranges import OpenFraction
from xent_bench.types import Distribution, Logits, PerExample


@links.use(links.simplex)
def quantile(logits: Logits, target: Distribution, *, tau: OpenFraction = 0.5) -> PerExample:
    """(1/c) sum_k max(tau d_k, (tau - 1) d_k) with d = q - z.

    With tau > 1/2, outputs that are too low cost more than outputs that are too high. tau = 1/2 is
    half the mean absolute distance.
    """
    difference = target - logits
    return torch.maximum(tau * difference, (tau - 1) * difference).mean(dim=1)
