"""Accuracy averaged over classes, whatever their sizes."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from xent_bench.arrays import Labels, Values

PerClass: TypeAlias = Float[np.ndarray, " k"]  # of the classes that occur


def balanced_top1(top1: Values, target: Labels) -> float:
    """Mean over the classes that occur of the accuracy on each; in [0, 1]."""
    mean, _, _ = _of_classes(top1, target)
    return float(mean.mean())


def balanced_top1_error(top1: Values, target: Labels) -> float | None:
    """Its standard error: the root of sum_k s_k^2 / n_k, over the number of classes.

    s_k^2 is the sample variance on class k. None where a class occurs once.
    """
    mean, square, counts = _of_classes(top1, target)
    if counts.min() < 2:
        return None
    variance_of_means = np.maximum(square - mean**2, 0) / (counts - 1)
    return float(np.sqrt(variance_of_means.sum()) / len(counts))


def _of_classes(top1: Values, target: Labels) -> tuple[PerClass, PerClass, PerClass]:
    """Of each class that occurs: the mean of top1, of its square, and how often it occurs."""
    counts = np.bincount(target).astype(float)
    seen = counts > 0
    sums = (np.bincount(target, values)[seen] for values in (top1, top1**2))
    mean, square = (each / counts[seen] for each in sums)
    return mean, square, counts[seen]
