"""The roots of many functions at once, each to the last bit as SciPy's `brentq` finds it alone.

Brent, 1973, "Algorithms for Minimization without Derivatives", chapter 4. SciPy's own search for
several roots at once, `scipy.optimize.elementwise.find_root`, is another algorithm.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int64

Roots = Float[np.ndarray, " r"]
Functions = Int64[np.ndarray, " a"]  # the numbers of some of the functions
Some = Float[np.ndarray, " a"]  # a value for each of them

RTOL = 4 * np.finfo(float).eps  # SciPy's
MOST_STEPS = 100  # likewise


def roots(
    function: Callable[[Functions, Some], Some], low: Roots, high: Roots, xtol: float
) -> Roots:
    """A root of each of r functions between `low` and `high`, where it has opposite signs.

    `function` computes the values of some functions, given by their numbers, at a place for each.
    ValueError if the signs at both ends of a function agree, or if a root is not found in 100
    steps.
    """
    if not len(low):
        return low
    which = np.arange(len(low))
    search = _Search(low, high, function(which, low), function(which, high))
    at = np.where(search.before_value == 0, low, high)
    which = which[(search.before_value != 0) & (search.value != 0)]
    search.keep(which)
    if (np.signbit(search.before_value) == np.signbit(search.value)).any():
        raise ValueError("expected values of opposite signs at both ends")
    for _ in range(MOST_STEPS):
        is_at_root = search.step(xtol)
        at[which[is_at_root]] = search.place[is_at_root]
        which = which[~is_at_root]
        if not len(which):
            return at
        search.keep(~is_at_root)
        search.move(function(which, search.next_place))
    raise ValueError(f"expected a root within {MOST_STEPS} steps")


class _Search:
    """The state of the searches that go on: arrays with a number for each function."""

    def __init__(self, low: Some, high: Some, low_value: Some, high_value: Some) -> None:
        self.before, self.before_value = low, low_value  # the place before the newest one
        self.place, self.value = high, high_value  # the newest place, then the best one
        self.other, self.other_value = np.zeros_like(low), np.zeros_like(low)  # beyond the root
        self.last_step, self.newest_step = np.zeros_like(low), np.zeros_like(low)
        self.next_place = high

    def keep(self, which: Functions | Bool[np.ndarray, " a"]) -> None:
        """Go on with these searches alone."""
        for name, values in vars(self).items():
            setattr(self, name, values[which])

    def step(self, xtol: float) -> Bool[np.ndarray, " a"]:
        """Choose the next place of each search; returns which of them are at their root."""
        self._bracket()
        tolerance = (xtol + RTOL * np.abs(self.place)) / 2
        half = (self.other - self.place) / 2
        trial = self._trial()
        is_short = 2 * np.abs(trial) < np.minimum(
            np.abs(self.last_step), 3 * np.abs(half) - tolerance
        )
        is_short &= np.abs(self.last_step) > tolerance
        is_short &= np.abs(self.value) < np.abs(self.before_value)
        self.last_step = np.where(is_short, self.newest_step, half)
        self.newest_step = np.where(is_short, trial, half)
        least = np.where(half > 0, tolerance, -tolerance)
        is_long = np.abs(self.newest_step) > tolerance
        self.next_place = self.place + np.where(is_long, self.newest_step, least)
        is_at_root: Bool[np.ndarray, " a"] = (self.value == 0) | (np.abs(half) < tolerance)
        return is_at_root

    def move(self, value: Some) -> None:
        """Go to the chosen places, where the functions have these values."""
        self.before, self.before_value = self.place, self.value
        self.place, self.value = self.next_place, value

    def _bracket(self) -> None:
        """Keep a place on each side of the root, the better one as the newest."""
        crosses = (self.before_value != 0) & (self.value != 0)
        crosses &= np.signbit(self.before_value) != np.signbit(self.value)
        self.other = np.where(crosses, self.before, self.other)
        self.other_value = np.where(crosses, self.before_value, self.other_value)
        width = self.place - self.before
        self.last_step = np.where(crosses, width, self.last_step)
        self.newest_step = np.where(crosses, width, self.newest_step)
        is_worse = np.abs(self.other_value) < np.abs(self.value)
        place, value, other, other_value = self.place, self.value, self.other, self.other_value
        self.before = np.where(is_worse, place, self.before)
        self.before_value = np.where(is_worse, value, self.before_value)
        self.place = np.where(is_worse, other, place)
        self.value = np.where(is_worse, other_value, value)
        self.other = np.where(is_worse, place, other)
        self.other_value = np.where(is_worse, value, other_value)

    def _trial(self) -> Some:
        """The step to the root of a line, or of the inverse quadratic through three places."""
        place, value, before_value = self.place, self.value, self.before_value
        with np.errstate(all="ignore"):  # a step that is no number is not taken
            secant = -value * (place - self.before) / (value - before_value)
            slope = (before_value - value) / (self.before - place)
            other_slope = (self.other_value - value) / (self.other - place)
            numerator = self.other_value * other_slope - before_value * slope
            quadratic = (
                -value * numerator / (other_slope * slope * (self.other_value - before_value))
            )
        step: Some = np.where(self.before == self.other, secant, quadratic)
        return step
