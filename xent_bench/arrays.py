"""Types of the NumPy arrays that links and metrics take, with one row for each example.

n is the number of examples, c that of classes. Predictions in a run's folder are scored as such
arrays, without PyTorch.
"""

from typing import TypeAlias, TypeGuard

import numpy as np
from jaxtyping import Float, Int64

Outputs: TypeAlias = Float[np.ndarray, "n c"]  # raw outputs of a net: logits or scores
LogProbabilities: TypeAlias = Float[np.ndarray, "n c"]
Labels: TypeAlias = Int64[np.ndarray, " n"]  # the true class of each example
SoftLabels: TypeAlias = Float[np.ndarray, "n c"]  # the probability of each class; rows sum to 1
Target: TypeAlias = Labels | SoftLabels  # hard labels, or soft ones
Values: TypeAlias = Float[np.ndarray, " n"]  # one number for each example

AT_A_TIME = 2**17


def row_blocks(outputs: Outputs) -> list[Outputs]:
    """Views of successive rows, of AT_A_TIME outputs at most, or of one row where that has more."""
    n, c = outputs.shape
    rows = max(1, AT_A_TIME // c)
    return [outputs[first : first + rows] for first in range(0, n, rows)]


def is_soft(target: Target) -> TypeGuard[SoftLabels]:
    """Whether the target is a distribution over the classes for each example, (n, c)."""
    return target.ndim == 2


def is_divided(target: Target) -> bool:
    """Whether a label is divided among several classes, as votes of people may be."""
    return is_soft(target) and bool((target.max(axis=1) < 1).any())


def normalised(rows: SoftLabels) -> SoftLabels:
    """The rows in float64, divided by their sums: those of a data set may be off by 1e-4."""
    exact = rows.astype(np.float64)
    sums_to_one: SoftLabels = exact / exact.sum(axis=1, keepdims=True)
    return sums_to_one
