"""Yardsticks: metrics that compare losses, because they mean the same whatever was trained."""

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
    """A metric by which losses are compared, and how it is shown."""

    key: str  # such as test_ts/nll
    above: str  # first line of its heading in a table
    below: str  # second line of its heading
    scale: float  # factor from the metric to the number shown: 100 for a share in per cent
    decimals: int  # of the number shown
    unit: str  # of a difference as shown
    better: int  # sign of an improvement, 1 or -1
    tie: float  # largest difference, in the metric's own unit, at which two losses are equally good

    @property
    def name(self) -> str:
        """Name of the metric in a sentence: 'NLL after temperature scaling'."""
        reading = {"raw": " as trained", "scaled": " after temperature scaling"}
        return self.above.removesuffix(" %") + reading.get(self.below, "")

    def shown(self, value: float, sign: str = "") -> str:
        """Format a value as shown, scaled and rounded; `sign` is that of a format specification."""
        return f"{self.scale * value:{sign}.{self.decimals}f}"

    def margin(self) -> str:
        """The largest difference of a tie with its unit, as shown: '0.5 points'."""
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
    """Keys of the metrics that the conclusion quotes: the primary one, then the secondary ones."""
    return tuple(dict.fromkeys((primary, *COMPARED)))


def by_key(yardsticks: Sequence[Yardstick] = YARDSTICKS) -> dict[str, Yardstick]:
    """Map each yardstick's key to the yardstick."""
    return {by.key: by for by in yardsticks}


def with_ties(margins: Mapping[str, float]) -> tuple[Yardstick, ...]:
    """Set the tie margins of these metrics, in the unit shown: {'top1': 0.3} is 0.3 points."""
    return tuple(
        by._replace(tie=margins[metric] / by.scale)
        if (metric := by.key.partition("/")[2]) in margins
        else by
        for by in YARDSTICKS
    )
