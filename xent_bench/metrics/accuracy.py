"""Accuracy averaged over classes, so that a rare class counts as much as a frequent one."""

from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from xent_bench.arrays import Labels, SoftLabels, Values

PerClass: TypeAlias = Float[np.ndarray, " k"]  # one number per class


class ClassHits(NamedTuple):
    """Sums over examples i of q_ik h_ik for each class k.

    q is the soft label, h_ik the probability that the answer to example i is k.
    """

    sums: PerClass

    @classmethod
    def sum(cls, parts: Iterable["ClassHits"]) -> "ClassHits":
        """Add the sums of several blocks of examples, in the order given."""
        return cls(np.sum([part.sums for part in parts], axis=0))


def balanced_top1(top1: Values, target: Labels) -> float:
    """Mean over classes of the accuracy on each class that occurs; in [0, 1]."""
    mean, _, _ = _of_classes(top1, target)
    return float(mean.mean())


def balanced_top1_error(top1: Values, target: Labels) -> float | None:
    """Standard error of balanced_top1: the root of sum_k s_k^2 / n_k, over the number of classes.

    s_k^2 is the sample variance of top1 on class k, n_k its number of examples. None if a class
    occurs only once.
    """
    mean, square, counts = _of_classes(top1, target)
    if counts.min() < 2:
        return None
    variance_of_means = np.maximum(square - mean**2, 0) / (counts - 1)
    return float(np.sqrt(variance_of_means.sum()) / len(counts))


def balanced_top1_soft(hits: ClassHits, q: SoftLabels) -> float:
    """Mean over the classes k that occur of A_k = sum_i q_ik h_ik / sum_i q_ik; in [0, 1].

    h_ik is the probability that the answer to example i is k. With one-hot q this is balanced_top1.
    """
    weights = q.sum(axis=0)
    seen = weights > 0
    return float((hits.sums[seen] / weights[seen]).mean())


def balanced_top1_soft_error(hits: ClassHits, weighted: Values, q: SoftLabels) -> float | None:
    """Standard error of balanced_top1_soft, by influence: the root of n / (n - 1) sum_i f_i^2.

    f_i = (1/c) sum_k q_ik (h_ik - A_k) / sum_j q_jk over the c classes that occur. `weighted` holds
    the first part of that sum, sum_k q_ik h_ik / sum_j q_jk. None if the labels of a class weigh
    less than two examples: (sum_i q_ik)^2 / sum_i q_ik^2 < 2.
    """
    weights = q.sum(axis=0)
    seen = weights > 0
    if (weights[seen] ** 2 < 2 * np.einsum("ij,ij->j", q, q)[seen]).any():
        return None
    scale = np.zeros(len(weights))
    scale[seen] = hits.sums[seen] / weights[seen] ** 2
    influence = (weighted - q @ scale) / seen.sum()
    return float(np.sqrt(influence @ influence * len(q) / (len(q) - 1)))


def _of_classes(top1: Values, target: Labels) -> tuple[PerClass, PerClass, PerClass]:
    """Mean of top1, mean of its square and number of examples, for each class that occurs."""
    counts = np.bincount(target).astype(float)
    seen = counts > 0
    sums = (np.bincount(target, values)[seen] for values in (top1, top1**2))
    mean, square = (class_sums / counts[seen] for class_sums in sums)
    return mean, square, counts[seen]
