"""Examples sorted by certainty: the input of the metrics of calibration and of ranking.

The last axis of an array is the examples. One before it holds several rankings, such as resamples:
each metric is then computed for all of them at once, to the last bit as one by one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int64

from xent_bench.arrays import Values

SAME = 1e-13  # relative: certainties that are nearer to each other differ by rounding only
Starts: TypeAlias = Int64[np.ndarray, " groups"]  # place of the first example of each group
Rows: TypeAlias = Float[np.ndarray, "*rows n"]
EachRow: TypeAlias = float | Float[np.ndarray, "*rows"]  # a number for each ranking


@dataclass(frozen=True)
class Ranked:
    """Examples in the order of rising certainty, with the chance that their answer is right.

    Certainty is the probability of the answered class (then it is called confidence), or the margin
    of a loss without probabilities. The chance is 1 or 0, a fraction where classes tie, and q_k of
    the answer k for soft labels q. Equally certain examples share the mean of their `outcome` as
    `correct`, so that no metric depends on the order in which the examples came.
    """

    certainty: Rows
    correct: Rows
    outcome: Rows  # the same of each example by itself, without sharing
    # where the groups begin whose examples share a mean: places in the raveled arrays
    first: Starts
    soft: bool = False  # whether labels are distributions

    @property
    def n(self) -> int:
        """The number of examples of a ranking."""
        return int(self.certainty.shape[-1])

    @cached_property
    def gap(self) -> Rows:
        """confidence - correct of each example."""
        gap: Rows = self.certainty - self.correct
        return gap

    @cached_property
    def risks(self) -> Rows:
        """Share of wrong answers among the k most certain, for k = 1 to n: risk at k / n."""
        return risks_of(self.correct)


def risks_of(correct: Rows) -> Rows:
    """Share of wrong answers among the last k of each ranking, for k = 1 to n."""
    wrong = 1 - correct[..., ::-1]
    shares: Rows = wrong.cumsum(axis=-1) / np.arange(1, correct.shape[-1] + 1)
    return shares


def rank(certainty: Values, correct: Values, *, soft: bool = False) -> Ranked:
    """Sort examples by certainty and let equally certain ones share a mean."""
    order = certainty.argsort(kind="stable")
    return level(certainty[order], correct[order], soft=soft)


def level(
    certainty: Rows,
    correct: Rows,
    *,
    soft: bool = False,
    alone: Bool[np.ndarray, "*rows n"] | None = None,
) -> Ranked:
    """Let equally certain examples share a mean; `certainty` is sorted already.

    `alone` marks examples that tie only with copies of themselves, as in a resample: the mean of
    copies averages no noise away, so every copy counts as a group by itself.
    """
    begins = np.ones(certainty.shape, bool)
    later = certainty[..., 1:]
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        begins[..., 1:] = later - certainty[..., :-1] > SAME * later
    first = np.flatnonzero(begins)
    sizes = np.diff(first, append=certainty.size)
    means = np.repeat(np.add.reduceat(correct.ravel(), first) / sizes, sizes)
    if alone is not None:
        begins[..., 1:] |= alone[..., 1:]
        first = np.flatnonzero(begins)
    return Ranked(certainty, means.reshape(certainty.shape), correct, first, soft)


def is_alone(ranked: Ranked) -> Bool[np.ndarray, " n"]:
    """Whether no other example is as certain, for each example."""
    sizes = np.diff(ranked.first, append=len(ranked.certainty))
    return np.repeat(sizes == 1, sizes)


def by_row(function: Callable[..., float], *arrays: Rows) -> EachRow:
    """Call a function of one ranking's arrays for each ranking: where arrays give other bits."""
    if arrays[0].ndim == 1:
        return function(*arrays)
    return np.array([function(*row) for row in zip(*arrays, strict=True)])
