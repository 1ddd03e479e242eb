"""Yardsticks: metrics that compare losses, because they mean the same whatever was trained."""

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
        reading = {
            "raw": " as trained",
            "scaled": " after temperature scaling",
            "corrected": " after prior correction",
        }
        return self.above.removesuffix(" %") + reading.get(self.below, "")

    def shown(self, value: float, sign: str = "") -> str:
        """Format a value as shown, scaled and rounded; `sign` is that of a format specification."""
        return f"{self.scale * value:{sign}.{self.decimals}f}"

    def margin(self) -> str:
        """The largest difference of a tie with its unit, as shown: '0.5 points'."""
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
    # where class frequencies of train and test differ
    _yardstick("test_pc/top1", "top-1 %", "corrected", 1, 0.005),
    _yardstick("test_pc/nll", "NLL", "corrected", 3, 0.01),
)
METRICS = tuple(dict.fromkeys(yardstick.key.partition("/")[2] for yardstick in YARDSTICKS))


def quoted(primary: str, compared: Sequence[str] = COMPARED) -> tuple[str, ...]:
    """Keys of the metrics that the conclusion quotes: the primary one, then the secondary ones."""
    return tuple(dict.fromkeys((primary, *compared)))


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
