"""The arrays that links and metrics take: NumPy, on the CPU, one row an example.

n examples, c classes. What is read back from a run's folder is scored without PyTorch.
"""

from typing import TypeAlias, TypeGuard

import numpy as np
from jaxtyping import Float, Int64

Outputs: TypeAlias = Float[np.ndarray, "n c"]  # of a net: logits, scores
LogProbabilities: TypeAlias = Float[np.ndarray, "n c"]
Labels: TypeAlias = Int64[np.ndarray, " n"]  # the true class of each example
SoftLabels: TypeAlias = Float[np.ndarray, "n c"]  # the probability of each class; rows sum to 1
Target: TypeAlias = Labels | SoftLabels  # hard labels, or soft ones
Values: TypeAlias = Float[np.ndarray, " n"]  # one number an example


def is_soft(target: Target) -> TypeGuard[SoftLabels]:
    """Whether labels are distributions over the classes, a row each."""
    return target.ndim == 2


def normalised(rows: SoftLabels) -> SoftLabels:
    """Rows in float64 that sum to 1: a data set may be 1e-4 off."""
    exact = rows.astype(np.float64)
    sums_to_one: SoftLabels = exact / exact.sum(axis=1, keepdims=True)
    return sums_to_one
