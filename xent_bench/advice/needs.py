"""The needs of a user, and the metric that stands for them."""

from collections.abc import Collection
from typing import NamedTuple

from xent_bench.comparison.compare import BASELINE
from xent_bench.comparison.yardsticks import POINTS, Yardstick, by_key
from xent_bench.metrics.reported import METRICS, PREFIXES
from xent_bench.metrics.shifts import MEAN, SHIFT, SHIFT_TS

UNEVEN = 2.0  # ratio of class sizes from which they matter, as in metrics/class_sizes.py
TUNING_RUNS = 9  # the least that tunes one loss: 3 values of a hyper-parameter, with 3 seeds


class Aim(NamedTuple):
    """A need in words, and the metric that stands for it."""

    meaning: str
    metric: str  # the key's last word
    short: str  # heading of a table
    tie: float  # largest difference of a tie, in the metric's own unit


AIMS = {
    "accuracy": Aim("right answers", "top1", "top-1", 0.005),
    "probabilities": Aim(
        "probabilities to act on (NLL; whether they are calibrated is told too)",
        *("nll", "NLL", 0.01),
    ),
    "ranking": Aim("the right class among the first five", "top5", "top-5", 0.005),
    # AURC averages the error over all coverages, so at 10 % of errors it is near 1 %
    "abstention": Aim(
        "few errors where the net answers only if it is sure (area under the risk-coverage curve)",
        *("aurc", "AURC", 0.002),
    ),
}
BY_ANSWER = ("top1", "top5")  # metrics that a temperature does not change
READINGS = {"test": "raw", "test_ts": "scaled", "test_pc": "corrected"}
SHIFTED = {SHIFT: "raw", SHIFT_TS: "scaled"}


class Needs(NamedTuple):
    """The needs of a user, as the options of xent-advise give them."""

    need: str = "probabilities"  # a key of AIMS
    noise: float = 0.0  # expected share of wrong labels in train
    noise_kind: str | None = None  # as in noise=symmetric; None: any
    imbalance: float = 1.0  # ratio of the largest class in train to the smallest
    has_calibration_data: bool = True
    budget: int | None = None  # runs that can be afforded
    shift: bool = False  # images in use are corrupted
    data: str | None = None
    model: str | None = None
    baseline: str = BASELINE

    @property
    def aim(self) -> Aim:
        """The need in words and its metric."""
        return AIMS[self.need]

    @property
    def is_uneven(self) -> bool:
        """Whether classes of train differ in size so much that it matters."""
        return self.imbalance >= UNEVEN

    @property
    def can_tune(self) -> bool | None:
        """Whether the budget is enough to tune a loss; None without a budget."""
        return None if self.budget is None else self.budget >= TUNING_RUNS

    def yardstick(self, keys: Collection[str]) -> Yardstick:
        """The metric that decides: after calibration where that can be had.

        `keys` are the metrics that runs have. On a long tail that is after prior correction, if a
        run has it: it is made only where class sizes of train and test differ.
        """
        key = f"{self._prefix(keys)}/{self.aim.metric}"
        return by_key().get(key) or yardstick_of(self.aim, key)

    def yardstick_as_trained(self) -> Yardstick:
        """The metric of the same need, without any calibrator."""
        return self._replace(has_calibration_data=False).yardstick(())

    def _prefix(self, keys: Collection[str]) -> str:
        scales = self.has_calibration_data and self.aim.metric not in BY_ANSWER
        if self.shift:  # a temperature gives no AURC under shift: see metrics/shifts.py
            scaled = scales and self.aim.metric != "aurc"
            return f"{SHIFT_TS if scaled else SHIFT}/{MEAN}"
        corrected = PREFIXES["prior_correction"]
        if (
            self.has_calibration_data
            and self.is_uneven
            and f"{corrected}/{self.aim.metric}" in keys
        ):
            return corrected
        return PREFIXES["temperature"] if scales else "test"


def yardstick_of(aim: Aim, key: str) -> Yardstick:
    """A yardstick for a key that the report has none for: AURC, or a mean under shift."""
    row = METRICS[aim.metric]
    assert row.better is not None
    prefix = key.partition("/")[0]
    below = (READINGS | SHIFTED).get(prefix, "raw")
    is_share = row.unit == "%"
    above = f"{aim.short} under shift" if prefix in SHIFTED else aim.short
    return Yardstick(
        *(key, above, below, row.scale, 2 if aim.metric == "aurc" else 1 if is_share else 3),
        *(POINTS if is_share else "", row.better, aim.tie),
    )
