"""Examples in the order of their certainty: what calibration and ranking are computed from."""

from typing import NamedTuple

import numpy as np

from xent_bench.arrays import Values

SAME = 1e-13  # relative: certainties nearer than this differ by rounding


class Ranked(NamedTuple):
    """Certainty, rising, and the chance that the answer is right: 1 or 0, between where a tie is.

    Certainty is the probability of the answered class (then it is called confidence), or a margin
    loss's margin. Examples that are equally certain share the mean of their `correct`: so nothing
    depends on the order in which examples came.
    """

    certainty: Values
    correct: Values

    @property
    def gap(self) -> Values:
        """confidence - correct."""
        gap: Values = self.certainty - self.correct
        return gap


def rank(certainty: Values, correct: Values) -> Ranked:
    """Sorted by certainty."""
    order = certainty.argsort(kind="stable")
    return level(certainty[order], correct[order])


def level(certainty: Values, correct: Values) -> Ranked:
    """Of examples that are sorted by certainty: equally certain ones share a mean."""
    with np.errstate(invalid="ignore"):  # of two that are infinite
        step = certainty[1:] - certainty[:-1] > SAME * certainty[1:]
    first = np.flatnonzero(np.append(True, step))
    sizes = np.diff(first, append=len(certainty))
    return Ranked(certainty, np.repeat(np.add.reduceat(correct, first) / sizes, sizes))
