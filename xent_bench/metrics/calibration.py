"""Calibration: is an answer given with confidence 0.8 right 80 times in 100?"""

import torch

from xent_bench.metrics.accuracy import hits
from xent_bench.types import Index, LogProbabilities


def ece(log_probabilities: LogProbabilities, target: Index, *, bins: int = 15) -> float:
    """Top-label expected calibration error: sum_b (n_b / n) |accuracy_b - confidence_b|; in [0, 1].

    Bins of equal width, right-closed, so that confidence 1.0 falls into the last one. Naeini et
    al., 2015; Guo et al., 2017, arXiv:1706.04599. torchmetrics' bins are left-closed, with a
    further one for confidence 1.0.
    """
    confidence = log_probabilities.amax(dim=1).exp()
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)
    bin_of = torch.bucketize(confidence, edges[1:-1])
    gap = hits(log_probabilities, target, 1) - confidence
    return gap.new_zeros(bins).index_add(0, bin_of, gap).abs().sum().item() / len(target)
