"""Examples in the order of their certainty: what calibration and ranking are computed from."""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Int64

from xent_bench.arrays import Values

SAME = 1e-13  # relative: certainties nearer than this differ by rounding
Starts: TypeAlias = Int64[np.ndarray, " groups"]  # place of the first example of each group


class Ranked(NamedTuple):
    """Certainty, rising, and the chance that the answer is right: 1 or 0, between where classes
    tie; of soft labels q the probability q_k of the answer k.

    Certainty is the probability of the answered class (then it is called confidence), or a margin
    loss's margin. Examples that are equally certain share the mean of their `outcome` as `correct`:
    so nothing depends on the order in which examples came.
    """

    certainty: Values
    correct: Values
    outcome: Values  # of each example by itself, before equally certain ones share a mean
    first: Starts  # of the groups whose examples share a mean
    soft: bool = False  # whether labels are distributions

    @property
    def gap(self) -> Values:
        """confidence - correct."""
        gap: Values = self.certainty - self.correct
        return gap


def rank(certainty: Values, correct: Values, *, soft: bool = False) -> Ranked:
    """Sort examples by certainty and level them."""
    order = certainty.argsort(kind="stable")
    return level(certainty[order], correct[order], soft=soft)


def level(
    certainty: Values,
    correct: Values,
    *,
    soft: bool = False,
    alone: Bool[np.ndarray, " n"] | None = None,
) -> Ranked:
    """Let equally certain examples, which are sorted by certainty, share a mean.

    `alone` marks those that tie with none but copies of themselves, as in a resample: the mean of
    copies averages nothing, so each is counted as a group of its own.
    """
    with np.errstate(invalid="ignore"):  # of two that are infinite
        step = certainty[1:] - certainty[:-1] > SAME * certainty[1:]
    first = np.flatnonzero(np.append(True, step))
    sizes = np.diff(first, append=len(certainty))
    means = np.repeat(np.add.reduceat(correct, first) / sizes, sizes)
    if alone is not None:
        first = np.flatnonzero(np.append(True, step | alone[1:]))
    return Ranked(certainty, means, correct, first, soft)


def is_alone(ranked: Ranked) -> Bool[np.ndarray, " n"]:
    """Whether each example is equally certain with no other."""
    sizes = np.diff(ranked.first, append=len(ranked.certainty))
    return np.repeat(sizes == 1, sizes)
