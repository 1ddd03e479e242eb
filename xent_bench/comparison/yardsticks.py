"""What losses are compared by: metrics that mean the same whatever was trained."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from xent_bench.metrics import reported

POINTS = " points"  # of a share in per cent
CHOOSE_BY = "val/top1"  # which every loss has: the scores of a hinge are no probabilities
LARGER_IS_BETTER, SMALLER_IS_BETTER = (
    tuple(metric.name for metric in reported.METRICS.values() if metric.better == sign)
    for sign in (reported.LARGER, reported.SMALLER)
)
CHOICES = tuple(  # what every run may have on val, whatever its labels
    f"val/{name}"
    for name in (*LARGER_IS_BETTER, *SMALLER_IS_BETTER)
    if "val" in reported.METRICS[name].prefixes and not reported.METRICS[name].needs_soft_labels
)
COMPARED = ("test/top1", "test/nll", "test_ts/nll", "test_ts/ece")  # where there is little room
PRIMARY = "test_ts/nll"  # by which losses are judged first; every loss has it


class Yardstick(NamedTuple):
    """A metric: its key, its heading in two lines, how it is shown, which sign is an improvement,
    and below which difference, in its own unit, two losses are as good as each other.
    """

    key: str
    above: str
    below: str
    scale: float
    decimals: int
    unit: str
    better: int
    tie: float

    @property
    def name(self) -> str:
        """In a sentence."""
        reading = {"raw": " as trained", "scaled": " after temperature scaling"}
        return self.above.removesuffix(" %") + reading.get(self.below, "")

    def shown(self, value: float, sign: str = "") -> str:
        """Scaled and rounded; `sign` as in a format."""
        return f"{self.scale * value:{sign}.{self.decimals}f}"

    def margin(self) -> str:
        """The largest difference of a tie."""
        return f"{self.scale * self.tie:g}{self.unit}"


def _yardstick(key: str, above: str, below: str, decimals: int, tie: float) -> Yardstick:
    """The yardstick of a key; scale, unit and sign are those of its metric's row."""
    metric = reported.METRICS[key.partition("/")[2]]
    assert metric.better is not None
    unit = POINTS if metric.unit == "%" else ""
    return Yardstick(key, above, below, metric.scale, decimals, unit, metric.better, tie)


YARDSTICKS = (
    _yardstick("test/top1", "top-1", "%", 1, 0.005),
    _yardstick("test/top5", "top-5", "%", 1, 0.005),
    _yardstick("test/nll", "NLL", "raw", 3, 0.01),
    _yardstick("test_ts/nll", "NLL", "scaled", 3, 0.01),
    _yardstick("test/brier", "Brier", "raw", 3, 0.005),
    _yardstick("test_ts/brier", "Brier", "scaled", 3, 0.005),
    _yardstick("test/ece", "ECE %", "raw", 1, 0.005),
    _yardstick("test_ts/ece", "ECE %", "scaled", 1, 0.005),
)
METRICS = tuple(dict.fromkeys(each.key.partition("/")[2] for each in YARDSTICKS))


def quoted(primary: str) -> tuple[str, ...]:
    """The metrics that a conclusion speaks of, the primary one first; the others are secondary."""
    return tuple(dict.fromkeys((primary, *COMPARED)))


def by_key(yardsticks: Sequence[Yardstick] = YARDSTICKS) -> dict[str, Yardstick]:
    """The yardsticks by their keys."""
    return {each.key: each for each in yardsticks}


def with_ties(margins: Mapping[str, float]) -> tuple[Yardstick, ...]:
    """The yardsticks with these margins, by metric and as shown: {'top1': 0.3} is 0.3 points."""
    return tuple(
        each._replace(tie=margins[metric] / each.scale)
        if (metric := each.key.partition("/")[2]) in margins
        else each
        for each in YARDSTICKS
    )
