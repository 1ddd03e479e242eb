"""Intervals that end where no value of a metric can lie: a share is never above 100 % or below 0.

Student's t interval of a mean over seeds is symmetric and knows no bounds. The mean of a metric
lies within the bounds, so an interval that is cut there holds it exactly as often as before: what
is cut off never did.
"""

from math import inf
from typing import NamedTuple

from xent_bench.comparison.stats import Estimate
from xent_bench.comparison.yardsticks import Yardstick

# differences, correlations and logarithms of other quantities have other bounds, or none
BOUNDED = {"top1", "top5", "nll", "brier", "ece", "balanced_top1", "error"}  # from 0 up
HIGHEST = {"brier": 2.0, "nll": inf}  # of the others it is 1

CUT = (
    "+a −b: the 95 % interval reaches a above the mean and b below it, since it ends at 0 or at "
    "100 %, beyond which no mean can lie. It holds the mean as often as one that is not cut."
)


class Bar(NamedTuple):
    """How far an interval reaches above and below its mean, in the metric's own unit."""

    up: float
    down: float
    is_cut: bool  # whether it would reach further, beyond what is possible


def bounds(key: str) -> tuple[float, float]:
    """Smallest and largest possible value of a metric, by its key, such as test_ts/ece."""
    name = key.rpartition("/")[2]
    if name not in BOUNDED:
        return -inf, inf
    return 0.0, HIGHEST.get(name, 1.0)


def within_bounds(estimate: Estimate, key: str) -> Bar:
    """The interval of an estimate within the bounds of its metric."""
    half = estimate.half_width or 0.0
    low, high = bounds(key)
    up, down = min(half, max(0.0, high - estimate.mean)), min(half, max(0.0, estimate.mean - low))
    return Bar(up, down, up < half or down < half)


def shown_within(estimate: Estimate, by: Yardstick) -> str:
    """The half-width of an estimate for a table, '±0.4', or both sides, ' +0.1 −0.4', if cut.

    Empty without an interval. An interval that is cut by less than its last digit shows is written
    as one that is not.
    """
    if estimate.half_width is None:
        return ""
    bar, half = within_bounds(estimate, by.key), by.shown(estimate.half_width)
    up, down = by.shown(bar.up), by.shown(bar.down)
    return f"±{half}" if (up, down) == (half, half) else f" +{up} −{down}"
