"""The arrays that links and metrics take: NumPy, on the CPU, one row an example.

n examples, c classes. What is read back from a run's folder is scored without PyTorch.
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int64

Outputs: TypeAlias = Float[np.ndarray, "n c"]  # of a net: logits, scores
LogProbabilities: TypeAlias = Float[np.ndarray, "n c"]
Labels: TypeAlias = Int64[np.ndarray, " n"]  # the true class of each example
Values: TypeAlias = Float[np.ndarray, " n"]  # one number an example
