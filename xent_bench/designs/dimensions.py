"""The dimensions of a search: an interval of numbers, or a list of values.

A dimension turns a share of its range, from 0 to below 1, into a value as it is typed.
"""

import math
from typing import NamedTuple, TypeAlias

DIGITS = 4  # of a sampled number, so that its run's command can be typed


class Interval(NamedTuple):
    """Numbers between two bounds; whole numbers include both."""

    key: str  # as it is typed: optimizer.lr
    low: float
    high: float
    log: bool = False  # equal shares are equal ratios
    whole: bool = False

    @property
    def size(self) -> float:
        """The number of values; infinite for fractions."""
        return self.high - self.low + 1 if self.whole else math.inf

    def at(self, share: float) -> str:
        """The value below which this share of the interval lies."""
        # each whole number gets its share: 1 to 3 is cut at 1.5 and 2.5, from 0.5 to 3.5
        edge = 0.5 if self.whole else 0.0
        low, high = self.low - edge, self.high + edge
        if self.log:
            low, high = math.log(low), math.log(high)
        value = low + share * (high - low)
        return self.text(math.exp(value) if self.log else value)

    def text(self, value: float) -> str:
        """A value as it is typed: within the bounds, in DIGITS digits that differ within them."""
        if self.whole:
            return str(int(min(max(math.floor(value + 0.5), self.low), self.high)))
        largest = max(abs(self.low), abs(self.high))
        common = max(0, math.floor(math.log10(largest / (self.high - self.low))))
        rounded = float(f"{value:.{DIGITS + common}g}")
        return str(min(max(rounded, self.low), self.high))


class Choices(NamedTuple):
    """Values without an order, as they are typed."""

    key: str
    values: tuple[str, ...]

    @property
    def size(self) -> float:
        """The number of values."""
        return len(self.values)

    def at(self, share: float) -> str:
        """The value to which this share of the list leads."""
        return self.values[int(share * len(self.values))]


Dimension: TypeAlias = Interval | Choices
Point: TypeAlias = tuple[str, ...]  # words such as optimizer.lr=0.003127, one for each dimension


class Space(NamedTuple):
    """The space in which one loss is searched; dimensions are sorted by their keys."""

    loss: str
    shared: tuple[Dimension, ...]  # that every loss of the sweep has
    of_loss: tuple[Dimension, ...]  # its own: loss.gamma

    @property
    def dimensions(self) -> tuple[Dimension, ...]:
        """All dimensions, the shared ones first."""
        return self.shared + self.of_loss

    @property
    def size(self) -> float:
        """The number of different points; infinite where one dimension holds fractions."""
        return math.prod(dimension.size for dimension in self.dimensions)
