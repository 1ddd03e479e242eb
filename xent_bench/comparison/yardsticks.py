"""What losses are compared by: metrics that mean the same whatever was trained."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

POINTS = " points"  # of a share in per cent
CHOOSE_BY = "val/top1"  # which every loss has: the scores of a hinge are no probabilities
LARGER_IS_BETTER = ("top1", "top5", "balanced_top1", "auroc_correct")
SMALLER_IS_BETTER = (
    *("nll", "brier", "ece", "ece_equal_mass", "ece_classwise", "ece_debiased", "mce", "smece"),
    *("ks", "aurc", "eaurc"),
)
CHOICES = tuple(f"val/{metric}" for metric in (*LARGER_IS_BETTER, *SMALLER_IS_BETTER))
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
