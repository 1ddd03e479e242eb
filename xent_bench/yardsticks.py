"""What losses are compared by: metrics that mean the same whatever was trained."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

POINTS = " points"  # of a share in per cent
CHOOSE_BY = "val/top1"  # which every loss has: the scores of a hinge are no probabilities
COMPARED = ("test/top1", "test_ts/nll", "test_ts/brier", "test_ts/ece")  # defined for every loss


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


YARDSTICKS = (
    Yardstick("test/top1", "top-1", "%", 100, 1, POINTS, 1, 0.005),
    Yardstick("test/top5", "top-5", "%", 100, 1, POINTS, 1, 0.005),
    Yardstick("test/nll", "NLL", "raw", 1, 3, "", -1, 0.01),
    Yardstick("test_ts/nll", "NLL", "scaled", 1, 3, "", -1, 0.01),
    Yardstick("test/brier", "Brier", "raw", 1, 3, "", -1, 0.005),
    Yardstick("test_ts/brier", "Brier", "scaled", 1, 3, "", -1, 0.005),
    Yardstick("test/ece", "ECE %", "raw", 100, 1, POINTS, -1, 0.005),
    Yardstick("test_ts/ece", "ECE %", "scaled", 100, 1, POINTS, -1, 0.005),
)
METRICS = tuple(dict.fromkeys(each.key.partition("/")[2] for each in YARDSTICKS))


def by_key(yardsticks: Sequence[Yardstick] = YARDSTICKS) -> dict[str, Yardstick]:
    """The yardsticks by their keys."""
    return {each.key: each for each in yardsticks}


def with_ties(margins: Mapping[str, float]) -> tuple[Yardstick, ...]:
    """The yardsticks with these margins, by metric and as shown: {'top1': 0.3} is 0.3 points."""
    for metric, margin in margins.items():
        if metric not in METRICS or not margin > 0:
            expected = f"one of {', '.join(METRICS)} and a number above 0"
            raise ValueError(f"--tie: expected {expected}, got {metric}={margin:g}")
    return tuple(
        each._replace(tie=margins[metric] / each.scale)
        if (metric := each.key.partition("/")[2]) in margins
        else each
        for each in YARDSTICKS
    )
