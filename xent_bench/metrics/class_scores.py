"""Scores of every class: recall, precision, F1, calibration of its answers, and its confusion.

An image with tied outputs counts as an answer of the first of the tied classes, and as right by the
chance of breaking the tie rightly. With soft labels q the right answers are sums of q.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int64

from xent_bench.arrays import Values
from xent_bench.metrics.accuracy import PerClass
from xent_bench.metrics.by_class import recalls
from xent_bench.metrics.examples import Examples
from xent_bench.metrics.random_draws import SEED
from xent_bench.metrics.reliability import confusion_matrix
from xent_bench.metrics.uncertainty import BLOCK, DRAWS

Places: TypeAlias = Int64[np.ndarray, " k"]  # a class for each class


class ClassScores(NamedTuple):
    """Numbers of each class; NaN where there is none."""

    images: PerClass  # of the class, in test
    recall: PerClass  # the share of them that are answered rightly
    recall_error: PerClass  # its standard error over these images
    answers: PerClass  # images that are answered with the class
    precision: PerClass  # the share of the answers that are right
    f1: PerClass  # harmonic mean of recall and precision; 0 if nothing is right
    taken_for: Places  # the class that its images are most often taken for; -1: none is
    taken: PerClass  # how many of them are


class AnswerGaps(NamedTuple):
    """Calibration of the answers with each class; NaN for a class that is never answered."""

    confidence: PerClass  # mean confidence of the images that are answered with the class
    gap: PerClass  # that, less the share of them that are right
    low: PerClass  # the central 95 % of the gaps of a calibrated net with these confidences
    high: PerClass

    @property
    def is_outside(self) -> np.ndarray:
        """Whether the gap is not within what a calibrated net shows; False for NaN."""
        return (self.gap < self.low - 1e-9) | (self.gap > self.high + 1e-9)


def class_scores(examples: Examples, classes: int) -> ClassScores:
    """Compute recall, precision, F1 and the most frequent confusion of each class."""
    recall, error, images = recalls(examples, classes)
    answers = np.bincount(examples.answer, minlength=classes).astype(np.float64)
    right = np.bincount(examples.answer, examples.top1, classes)
    precision = _shares(right, answers)
    both = np.nan_to_num(precision) + np.nan_to_num(recall)
    f1 = _shares(2 * np.nan_to_num(precision) * np.nan_to_num(recall), both, empty=0.0)
    matrix = confusion_matrix(examples, classes)
    np.fill_diagonal(matrix, 0)
    taken_for = matrix.argmax(axis=1)
    taken = matrix[np.arange(classes), taken_for].astype(np.float64)
    return ClassScores(
        *(images, recall, error, answers, precision),
        f1=np.where(images > 0, f1, np.nan),
        taken_for=np.where(taken > 0, taken_for, -1),
        taken=taken,
    )


def answer_gaps(examples: Examples, classes: int) -> AnswerGaps | None:
    """Compare confidence and precision of each class; None without probabilities.

    The band is drawn as `consistent` draws: each answer is right with a probability of its
    confidence. At most 5 in 100 classes of a calibrated net are outside; fewer with soft labels.
    """
    if examples.probabilistic is None:
        return None
    order = examples.answer.argsort(kind="stable")
    answer, confidence = examples.answer[order], examples.probabilistic.confidence[order]
    first = np.flatnonzero(np.diff(answer, prepend=-1))
    n = np.diff(first, append=len(answer))
    mean = np.add.reduceat(confidence, first) / n
    ends = mean - _right_by_chance(confidence, first) / n
    gap = mean - np.add.reduceat(examples.top1[order], first) / n
    numbers = np.full((4, classes), np.nan)
    numbers[:, answer[first]] = mean, gap, *ends
    return AnswerGaps(*numbers)


def _right_by_chance(
    confidence: Values, first: Int64[np.ndarray, " answered"]
) -> Int64[np.ndarray, "2 answered"]:
    """The ends of the central 95 % of the number of right answers, the larger number first."""
    rng = np.random.default_rng(SEED)
    rows = max(1, BLOCK // len(confidence))
    parts = [
        np.add.reduceat(
            rng.random((min(rows, DRAWS - start), len(confidence)), dtype=np.float32) < confidence,
            first,
            axis=1,
            dtype=np.int64,
        )
        for start in range(0, DRAWS, rows)
    ]
    # counts, and so no value between two of them
    low, high = np.quantile(np.concatenate(parts), (0.025, 0.975), axis=0, method="inverted_cdf")
    return np.stack([high, low])


def _shares(part: PerClass, whole: PerClass, empty: float = np.nan) -> PerClass:
    """part / whole; `empty` where the whole is 0."""
    quotient: PerClass = np.full(len(whole), empty)
    np.divide(part, whole, out=quotient, where=whole > 0)
    return quotient
