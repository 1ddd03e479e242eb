"""Log-cosh loss on raw outputs.  Saleh and Saleh, 2022, arXiv:2208.04564."""

import math

import torch

from xent_bench import links
from xent_bench.types import Distribution, Logits, PerExample


@links.use(links.simplex)
def log_cosh(logits: Logits, target: Distribution) -> PerExample:
    """(1/c) sum_k log cosh(z_k - q_k).

    A term is about d^2/2 for small d = z_k - q_k, and about |d| - log 2 for large |d|.
    """
    distance = (logits - target).abs()
    # a direct cosh overflows above 89 in float32
    return (distance + torch.log1p(torch.exp(-2 * distance)) - math.log(2)).mean(dim=1)
