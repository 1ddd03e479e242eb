"""Examples sorted by certainty: the input of the metrics of calibration and of ranking."""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Int64

from xent_bench.arrays import Values

SAME = 1e-13  # relative: certainties that are nearer to each other differ by rounding only
Starts: TypeAlias = Int64[np.ndarray, " groups"]  # place of the first example of each group


class Ranked(NamedTuple):
    """Examples in the order of rising certainty, with the chance that their answer is right.

    Certainty is the probability of the answered class (then it is called confidence), or the margin
    of a loss without probabilities. The chance is 1 or 0, a fraction where classes tie, and q_k of
    the answer k for soft labels q. Equally certain examples share the mean of their `outcome` as
    `correct`, so that no metric depends on the order in which the examples came.
    """

    certainty: Values
    correct: Values
    outcome: Values  # the same of each example by itself, without sharing
    first: Starts  # where the groups begin whose examples share a mean
    soft: bool = False  # whether labels are distributions

    @property
    def gap(self) -> Values:
        """confidence - correct of each example."""
        gap: Values = self.certainty - self.correct
        return gap


def rank(certainty: Values, correct: Values, *, soft: bool = False) -> Ranked:
    """Sort examples by certainty and let equally certain ones share a mean."""
    order = certainty.argsort(kind="stable")
    return level(certainty[order], correct[order], soft=soft)


def level(
    certainty: Values,
    correct: Values,
    *,
    soft: bool = False,
    alone: Bool[np.ndarray, " n"] | None = None,
) -> Ranked:
    """Let equally certain examples share a mean; `certainty` is sorted already.

    `alone` marks examples that tie only with copies of themselves, as in a resample: the mean of
    copies averages no noise away, so every copy counts as a group by itself.
    """
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        step = certainty[1:] - certainty[:-1] > SAME * certainty[1:]
    first = np.flatnonzero(np.append(True, step))
    sizes = np.diff(first, append=len(certainty))
    means = np.repeat(np.add.reduceat(correct, first) / sizes, sizes)
    if alone is not None:
        first = np.flatnonzero(np.append(True, step | alone[1:]))
    return Ranked(certainty, means, correct, first, soft)


def is_alone(ranked: Ranked) -> Bool[np.ndarray, " n"]:
    """Whether no other example is as certain, for each example."""
    sizes = np.diff(ranked.first, append=len(ranked.certainty))
    return np.repeat(sizes == 1, sizes)
