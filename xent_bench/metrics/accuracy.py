"""Accuracy averaged over classes, whatever their sizes."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from xent_bench.arrays import Labels, Values

PerClass: TypeAlias = Float[np.ndarray, " k"]  # of the classes that occur


def balanced_top1(top1: Values, target: Labels) -> float:
    """Mean over the classes that occur of the accuracy on each; in [0, 1]."""
    return float(_recalls(top1, target)[0].mean())


def balanced_top1_error(top1: Values, target: Labels) -> float | None:
    """Its standard error: the root of sum_k a_k (1 - a_k) / (n_k - 1), over the number of classes.

    None where a class occurs once.
    """
    recalls, counts = _recalls(top1, target)
    if counts.min() < 2:
        return None
    return float(np.sqrt((recalls * (1 - recalls) / (counts - 1)).sum()) / len(counts))


def _recalls(top1: Values, target: Labels) -> tuple[PerClass, PerClass]:
    """Accuracy on each class that occurs, and how often it does."""
    counts = np.bincount(target).astype(float)
    seen = counts > 0
    return np.bincount(target, top1)[seen] / counts[seen], counts[seen]
