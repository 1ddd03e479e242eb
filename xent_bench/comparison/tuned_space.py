"""The space of hyper-parameters in which the trials of a loss lie, each scaled to [0, 1]."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from xent_bench.comparison.trials import Trial, number
from xent_bench.comparison.tuning import in_order

MANY = 10  # distinct numbers; more are described by their ends, and their ends are zones
OUTER = 0.1  # share of the range that is an end zone, where there are many values
EVEN = 6  # distinct values, from which on their spacing tells the scale
RATIO = 5.0  # largest over smallest positive value, above which a range is logarithmic


class Axis(NamedTuple):
    """The range of one hyper-parameter over the trials of a loss."""

    low: float
    high: float
    is_log: bool

    def place(self, value: float) -> float:
        """Scale a value to [0, 1]: 0 is the smallest tried, 1 the largest."""
        if self.low == self.high:
            return 0.5
        low, high, value = map(self._unit, (self.low, self.high, value))
        return (value - low) / (high - low)

    def value(self, place: float) -> float:
        """The value at a place in [0, 1]."""
        low, high = self._unit(self.low), self._unit(self.high)
        value = low + place * (high - low)
        return math.exp(value) if self.is_log else value

    def _unit(self, value: float) -> float:
        return math.log(value) if self.is_log else value


def spans_ratio(values: Iterable[float]) -> bool:
    """Whether values are positive, and the largest is more than RATIO times the smallest."""
    every = list(values)
    return min(every) > 0 and max(every) / min(every) > RATIO


def is_logarithmic(values: Iterable[float]) -> bool:
    """Whether values belong on a logarithmic axis, where several tell how they were drawn.

    EVEN or more values must also lie more evenly on it than on a linear one: uniform draws from
    (0, 5) span orders of magnitude by chance.
    """
    distinct = sorted(set(values))
    if not spans_ratio(distinct):
        return False
    return len(distinct) < EVEN or _unevenness(list(map(math.log, distinct))) < _unevenness(
        distinct
    )


def _unevenness(values: Sequence[float]) -> float:
    """Largest distance of increasing values, scaled to [0, 1], from values at equal distances."""
    span, n = values[-1] - values[0], len(values)
    return max(abs((v - values[0]) / span - i / (n - 1)) for i, v in enumerate(values))


def axis_of(texts: Iterable[str | None]) -> Axis | None:
    """The axis of values given as texts; None if there are fewer than two or one is no number."""
    values = {number(text) for text in texts}
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    if len(numbers) < 2 or len(numbers) < len(values):
        return None
    return Axis(min(numbers), max(numbers), is_logarithmic(numbers))


def axes_of(trials: Sequence[Trial]) -> dict[str, Axis | None]:
    """The axis of each varied hyper-parameter of a loss's trials; None for words."""
    keys = dict.fromkeys(key for trial in trials for key in trial.varied)
    texts = {key: [trial.varied.get(key) for trial in trials] for key in keys}
    return {key: axis_of(values) for key, values in texts.items() if len(set(values)) > 1}


def distance(trial: Trial, other: Trial, axes: Mapping[str, Axis | None]) -> float:
    """Euclidean distance of two trials in the scaled space; two words differ by 1."""
    squares = []
    for key, axis in axes.items():
        ours, theirs = trial.varied.get(key), other.varied.get(key)
        if axis is None or ours is None or theirs is None:
            squares.append(float(ours != theirs))
        else:
            squares.append((axis.place(float(ours)) - axis.place(float(theirs))) ** 2)
    return math.sqrt(sum(squares))


def listed(texts: Iterable[str]) -> str:
    """List values in their order; more than MANY numbers by their count and their ends."""
    values = in_order(texts)
    if len(values) <= MANY or any(number(text) is None for text in values):
        return ", ".join(values)
    return f"{len(values)} values from {values[0]} to {values[-1]}"


def at_edge(trials: Sequence[Trial], chosen: Mapping[str, Trial]) -> list[str]:
    """Chosen values at an end of those tried by the loss: a better one may lie beyond.

    An end is the smallest or the largest value; of many values, such as drawn ones, it is the outer
    OUTER of their range on either side, on the logarithmic axis if they are on one.
    """
    at_ends: dict[str, list[str]] = {}
    for loss, trial in chosen.items():
        for key, text in trial.varied.items():
            tried = [other.varied.get(key) for other in trials if other.loss == loss]
            end = _end(text, tried)
            if end:
                at_ends.setdefault(f"{key}={text}, {end}", []).append(loss)
    return [f"{value}, for {', '.join(losses)}" for value, losses in at_ends.items()]


def _end(text: str, tried: Sequence[str | None]) -> str:
    """Say at which end of the tried values this one is; empty if at none."""
    axis, value = axis_of(tried), number(text)
    if axis is None or value is None:
        return ""
    ends = {axis.low: "the smallest tried", axis.high: "the largest tried"}
    if value in ends:
        return ends[value]
    texts = in_order(other for other in tried if other is not None)
    place = axis.place(value)
    if len(texts) <= MANY or OUTER < place < 1 - OUTER:
        return ""
    side, end = ("smallest", texts[0]) if place <= OUTER else ("largest", texts[-1])
    return f"near the {side} tried, {end}"
