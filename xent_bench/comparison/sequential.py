"""Decisions of a sweep that goes on until it knows: better, worse or a tie, at pre-set looks.

Losses are compared with a baseline after 3, 5, 8, 12, 18 and 30 seeds. A loss that is decided at a
look is closed: it gets no further seeds, and the seeds that it has beyond that look do not count.
Each loss has a sequential p value (see `boundary`), which holds at every look and whenever the
sweep stops. Holm's correction of these over the losses keeps the probability of any false "better"
or "worse" at 5 %, also if it is applied at every look (group-sequential Holm procedures: Ye, Li,
Liu and Yao, 2013; Tamhane, Xi and Gou, 2021), because a sequential p value can only become
smaller, so that what is decided stays decided. Ties are a family of their own, as in `contrasts`.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from xent_bench.comparison.boundary import Boundary
from xent_bench.comparison.stats import EQUAL, LEVEL, Difference, difference, holm

LOOKS = (3, 5, 8, 12, 18, 30)  # numbers of seeds at which a sweep looks
GROWTH = 1.6  # factor between looks beyond these
BETTER, WORSE, TIE, OPEN, SAME, UNJUDGED = "better", "worse", "tie", "open", "same", "not judged"


class Decision(NamedTuple):
    """The outcome for one loss: its verdict, and the difference to the baseline at that look.

    `p` and `p_tie` hold at every look, corrected over the losses (Holm). A loss whose values are
    not finite, because a run failed or gave the true class probability 0, is not judged and is
    closed. `same` marks a loss that ended with the baseline's weights: one loss in two formats.
    """

    label: str
    verdict: str  # better, worse, tie, open, same or not judged
    look: int | None  # number of the look at which the verdict fell, from 0; None while open
    n: int  # seeds used: those of the last look that this loss has come to, 0 before the first
    p: float | None
    p_tie: float | None
    difference: Difference | None  # over these n seeds, with the adjusted interval; None if n is 0

    @property
    def mean(self) -> float | None:
        """Mean difference to the baseline over the n seeds."""
        return self.difference and self.difference.mean

    @property
    def half_width(self) -> float | None:
        """Half-width of the adjusted interval, which covers at all looks at once in 95 %."""
        return self.difference and self.difference.half_width

    @property
    def is_open(self) -> bool:
        """Whether more seeds may decide."""
        return self.verdict == OPEN


@dataclass
class _Course:
    """State of one loss: its smallest p over weight up to now, and the latest decision."""

    smallest: float = math.inf  # p / weight
    sign: float = 0.0  # of the difference at that look
    smallest_tie: float = math.inf
    decision: Decision = field(
        default_factory=lambda: Decision("", OPEN, None, 0, None, None, None)
    )


def looks_until(max_seeds: int) -> tuple[int, ...]:
    """Numbers of seeds at which to look: LOOKS, cut or continued so that the last is max_seeds."""
    looks = list(LOOKS)
    while looks[-1] < max_seeds:
        looks.append(round(GROWTH * looks[-1]))
    return (*(n for n in looks if n < max_seeds), max_seeds)


def decide(
    values: Mapping[str, Sequence[float]],
    baseline: str,
    looks: Sequence[int],
    margin: float,
    better: int,
    *,
    same: Collection[str] = (),
) -> list[Decision]:
    """Decide for each other loss whether it is better than the baseline, worse or a tie.

    `values[label]` are the scores of a loss with the first seed, the second and so on, without
    gaps; NaN is a run that ended without a score. Look k uses the first looks[k] of them, whatever
    else there is, so that the outcome does not depend on the order in which runs were trained.
    `margin` is the largest difference of a tie, `better` the sign of an improvement, and `same` are
    losses that are known to have the baseline's weights, which are not tested. With one look this
    is the usual test of `difference` with Holm's correction.

    ValueError if the baseline is missing or the looks are not ascending numbers of 2 or more.
    """
    boundary = _checked(values, baseline, looks)
    courses = {label: _Course() for label in values if label not in (baseline, *same)}
    for look, n in enumerate(looks):
        at_look = [
            label
            for label, course in courses.items()
            if course.decision.is_open and min(len(values[label]), len(values[baseline])) >= n
        ]
        for label in at_look:
            delta = difference(values[label][:n], values[baseline][:n], margin, better)
            _update(courses[label], delta, boundary, look, label)
        _judge(courses, at_look, boundary, look, better, margin)
    return [
        courses[label].decision._replace(label=label)
        if label in courses
        else Decision(label, SAME, None, len(values[label]), None, None, None)
        for label in values
        if label != baseline
    ]


def next_seeds(
    values: Mapping[str, Sequence[float]],
    baseline: str,
    looks: Sequence[int],
    decisions: Sequence[Decision],
) -> dict[str, int]:
    """The number of seeds that each loss needs for the next look; empty if nothing is to be done.

    Only losses that are open and lack seeds are in it, and the baseline if it lacks some. All open
    losses come to a look before any goes on to the next one. `decisions` are those of `decide`.
    """
    open_losses = [decision.label for decision in decisions if decision.is_open]
    compared = [*open_losses, baseline] if open_losses else []
    for n in looks:
        lacking = {label: n for label in compared if len(values[label]) < n}
        if lacking:
            return lacking
    return {}


def most_runs_left(
    values: Mapping[str, Sequence[float]],
    baseline: str,
    looks: Sequence[int],
    decisions: Sequence[Decision],
) -> int:
    """The largest number of runs that may still be needed: all open losses go to the last look."""
    open_losses = [decision.label for decision in decisions if decision.is_open]
    compared = [*open_losses, baseline] if open_losses else []
    return sum(max(0, looks[-1] - len(values[label])) for label in compared)


def up_to_now(
    values: Sequence[float],
    others: Sequence[float],
    margin: float,
    better: int,
    boundary: Boundary,
) -> Difference:
    """Difference at the last look that these pairs come to, with sequential p values.

    Its p values and its interval hold at every look, whatever made the sweep stop, also for a
    metric that did not decide when it stopped. Before the first look there is neither.
    """
    pairs = min(len(values), len(others))
    looks = [n for n in boundary.looks if n <= pairs]
    n = looks[-1] if looks else pairs
    latest = difference(values[:n], others[:n], margin, better)
    if not looks:
        return latest._replace(half_width=None, p=None, p_tie=None)
    smallest, smallest_tie = _smallest(values[:n], others[:n], margin, boundary)
    return adjusted(latest, boundary)._replace(
        p=boundary.p(smallest) if math.isfinite(smallest) else None,
        p_tie=boundary.p(smallest_tie, 1) if math.isfinite(smallest_tie) else None,
    )


def _smallest(
    values: Sequence[float], others: Sequence[float], margin: float, boundary: Boundary
) -> tuple[float, float]:
    """Smallest p / weight over all looks, of a difference and of a tie; infinite without a test.

    As with `difference` at each look, but at once: there are many metrics and pairs of losses.
    """
    ours, theirs = np.array(values), np.array(others)
    looks = np.array([n for n in boundary.looks if n <= len(ours)])
    with np.errstate(invalid="ignore"):
        deltas = ours - theirs
        size = max(np.abs(ours).max(), np.abs(theirs).max())
        means = np.array([deltas[:n].mean() for n in looks])
        spreads = np.array([deltas[:n].std(ddof=1) for n in looks])
        is_tested = np.isfinite(means) & (spreads > EQUAL * size)
    if not is_tested.any():
        return math.inf, math.inf
    n, mean, spread = looks[is_tested], np.abs(means[is_tested]), spreads[is_tested]
    weights, errors = [boundary.weight(look) for look in n], spread / np.sqrt(n)
    ps, ties = 2 * stdtr(n - 1, -mean / errors), stdtr(n - 1, (mean - margin) / errors)
    return float(min(ps / weights)), float(min(ties / weights))


def adjusted(delta: Difference, boundary: Boundary) -> Difference:
    """Widen the interval of a difference so that it covers at all looks at once in 95 %."""
    if delta.spread is None:
        return delta._replace(half_width=None)
    t = float(stdtrit(delta.n - 1, 1 - boundary.nominal(delta.n) / 2))
    return delta._replace(half_width=t * delta.spread / math.sqrt(delta.n))


def _checked(
    values: Mapping[str, Sequence[float]], baseline: str, looks: Sequence[int]
) -> Boundary:
    """The boundary of these looks; a ValueError for a missing baseline or impossible looks."""
    if baseline not in values:
        raise ValueError(f"expected the baseline among {', '.join(values)}, got {baseline}")
    if not looks or looks[0] < 2 or any(a >= b for a, b in pairwise(looks)):
        raise ValueError(f"expected ascending numbers of 2 seeds or more as looks, got {looks}")
    return Boundary(tuple(looks))


def _update(course: _Course, delta: Difference, boundary: Boundary, look: int, label: str) -> None:
    """Add what one look shows to the course of a loss."""
    verdict, at = OPEN, None
    if not math.isfinite(delta.mean):  # and it will not be at any later look
        verdict, at = UNJUDGED, look
    weight = boundary.weight(delta.n)
    if delta.p is not None and delta.p / weight < course.smallest:
        course.smallest, course.sign = delta.p / weight, math.copysign(1, delta.mean)
    if delta.p_tie is not None:
        course.smallest_tie = min(course.smallest_tie, delta.p_tie / weight)
    course.decision = Decision(label, verdict, at, delta.n, None, None, adjusted(delta, boundary))


def _judge(
    courses: Mapping[str, _Course],
    at_look: Sequence[str],
    boundary: Boundary,
    look: int,
    better: int,
    margin: float,
) -> None:
    """Correct the p values of all losses, and close those that this look decides.

    A difference that is significant must also have now the sign that it had when it was, and a tie
    must now be smaller than the margin: that costs nothing and makes sure that the numbers shown
    agree with the verdict.
    """
    ps = _corrected([course.smallest for course in courses.values()], boundary, 2)
    ties = _corrected([course.smallest_tie for course in courses.values()], boundary, 1)
    for (label, course), p, p_tie in zip(courses.items(), ps, ties, strict=True):
        if label not in at_look:
            continue
        decision, mean = course.decision._replace(p=p, p_tie=p_tie), course.decision.mean or 0.0
        if not decision.is_open:
            verdict = decision.verdict
        elif p_tie is not None and p_tie < LEVEL and abs(mean) < margin:
            verdict = TIE
        elif p is not None and p < LEVEL and mean * course.sign > 0:
            verdict = BETTER if better * mean > 0 else WORSE
        else:
            verdict = OPEN
        course.decision = decision._replace(verdict=verdict, look=None if verdict == OPEN else look)


def _corrected(smallest: Sequence[float], boundary: Boundary, sides: int) -> list[float | None]:
    """Sequential p values of all losses, corrected (Holm); None for a loss without a test so far.

    A loss without a test counts in the correction, since a later look may test it; if there is
    only one look it does not.
    """
    tested = [math.isfinite(ratio) for ratio in smallest]
    ps: list[float | None] = [
        boundary.p(ratio, sides) if is_tested else None if len(boundary.looks) == 1 else 1.0
        for ratio, is_tested in zip(smallest, tested, strict=True)
    ]
    return [p if is_tested else None for p, is_tested in zip(holm(ps), tested, strict=True)]
