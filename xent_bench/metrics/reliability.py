"""The numbers behind a reliability diagram and behind a picture of the confusions."""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int64
from scipy.special import ndtri

from xent_bench.arrays import is_soft
from xent_bench.metrics.examples import Examples
from xent_bench.metrics.ranked import Ranked
from xent_bench.metrics.uncertainty import Consistent, consistent


class Reliability(NamedTuple):
    """The numbers of each bin of confidence that is not empty."""

    bin: Int64[np.ndarray, " b"]
    n: Int64[np.ndarray, " b"]
    confidence: Float[np.ndarray, " b"]  # mean
    accuracy: Float[np.ndarray, " b"]
    low: Float[np.ndarray, " b"]  # lower end of the 95 % interval of accuracy (Wilson, 1927)
    high: Float[np.ndarray, " b"]  # its upper end
    null_low: Float[np.ndarray, " b"]  # ends of the central 95 % of accuracy, if calibrated
    null_high: Float[np.ndarray, " b"]


def reliability(ranked: Ranked, bins: Consistent | None = None) -> Reliability:
    """Accuracy and confidence in the bins of the ECE; `bins` where they were drawn before.

    For soft labels, accuracy is the mean q of the answer. Both intervals are then those of hard
    labels drawn from q, which is at least as wide as needed.
    """
    bins = bins or consistent(ranked)
    n = bins.n
    starts = np.append(0, n.cumsum()[:-1])
    accuracy = np.add.reduceat(ranked.correct, starts) / n
    z = ndtri(0.975)
    centre = (accuracy + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(accuracy * (1 - accuracy) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    null_low, null_high = np.quantile(bins.right / n, (0.025, 0.975), axis=0)
    interval = centre - half, centre + half
    return Reliability(bins.bin, n, bins.confidence / n, accuracy, *interval, null_low, null_high)


class Confusion(NamedTuple):
    """How many examples of one class were answered with another; for soft labels a sum of q."""

    true: int
    answer: int
    n: float


Matrix: TypeAlias = Int64[np.ndarray, "c c"] | Float[np.ndarray, "c c"]


def confusion_matrix(examples: Examples, classes: int) -> Matrix:
    """How often each class (row) was answered with each (column).

    For soft labels, entry (k, j) is the sum of q_ik over the examples i answered with j.
    """
    if is_soft(examples.target):
        matrix = np.zeros((classes, classes))
        np.add.at(matrix, examples.answer, examples.target)
        return matrix.T
    pairs = examples.target * classes + examples.answer
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def top_confusions(matrix: Matrix, most: int) -> list[Confusion]:
    """The most frequent confusions, at most `most` of them."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [Confusion(int(i), int(j), wrong[i, j].item()) for i, j in places if wrong[i, j]]
