"""The one place that names what is reported: a row for each metric, and the prefixes of its keys.

A new metric takes a function in a file of this folder, a line in `score.py`, which calls it, and a
row in METRICS here. The scorecard, the view in MLflow, the choices of `xent-report --choose-by` and
the tests read the rows. Nothing is imported here, so that whoever needs a name waits for nothing.
"""

from collections.abc import Container
from typing import Literal, NamedTuple, TypeAlias

# the prefix of a calibrator's numbers
PREFIXES = {
    "temperature": "test_ts",
    "vector_scaling": "test_vs",
    "isotonic": "test_iso",
    "prior_correction": "test_pc",
    "structured_vector": "test_svs",
    "structured_matrix": "test_sms",
    "dirichlet": "test_dir",
}
# how a person reads a prefix
TITLES = {
    "test": "as trained",
    "test_ts": "temperature scaling",
    "test_vs": "vector scaling",
    "test_iso": "isotonic regression",
    "test_pc": "prior correction",
    "test_svs": "structured vector scaling",
    "test_sms": "structured matrix scaling",
    "test_dir": "Dirichlet calibration",
}
# temperature scaling with T fitted anew, where `test_ts` is one fitted T; it has a band only
RECIPE = "test_ts_recipe"

TESTED = tuple(TITLES)
EVERYWHERE = ("val", *TESTED)
# a prior correction is made for the class frequencies of test: at those of train it is no use
UNCORRECTED = tuple(prefix for prefix in TESTED if prefix != "test_pc")

Unit: TypeAlias = Literal["%", "nats", ""]
LARGER, SMALLER = 1, -1  # the sign of a change for the better


class Metric(NamedTuple):
    """A row: the metric's name and meaning, how it is shown, and which sign is an improvement."""

    name: str  # what follows the slash of a key
    meaning: str  # in a few words, at most 46 characters
    unit: Unit  # "%": a share in [0, 1], or a difference of two, times 100
    better: int | None  # LARGER, SMALLER or None: neither is an improvement
    decimals: int  # as shown, in per cent if it is a share
    prefixes: tuple[str, ...] = EVERYWHERE
    needs_soft_labels: bool = False
    needs_class_sizes: bool = False  # classes of train, or train and test, differ in their sizes
    is_detail: bool = False  # shown by xent-rescore --all alone

    @property
    def scale(self) -> int:
        """The factor from the number in a file to the number that is shown."""
        return 100 if self.unit == "%" else 1


COVERAGES = (80, 90, 95)  # in per cent, at which the risk is reported
MAIN_COVERAGE = 90  # of these, the one that is no detail
AT_TRAIN_PRIOR: tuple[tuple[str, Unit, int, int], ...] = (
    ("top1", "%", LARGER, 2),
    ("nll", "nats", SMALLER, 3),
    ("brier", "", SMALLER, 3),
    ("ece", "%", SMALLER, 2),
)
METRICS = {
    metric.name: metric
    for metric in (
        Metric("top1", "right answers", "%", LARGER, 2),
        Metric(
            *("top1_likeliest", "answers that are the label's likeliest class", "%", LARGER, 2),
            needs_soft_labels=True,
        ),
        Metric(
            *("excess_risk", "errors more than the best rule's, p(y|x) known", "%", SMALLER, 2),
            prefixes=TESTED,
        ),
        Metric("top5", "true class among the first five", "%", LARGER, 2),
        Metric("balanced_top1", "right answers, mean over classes", "%", LARGER, 2),
        *(
            Metric(name, meaning, "%", LARGER, 2, prefixes=TESTED, needs_class_sizes=True)
            for name, meaning in (
                ("top1_many", "right answers, classes with most images"),
                ("top1_medium", "right answers, classes in between"),
                ("top1_few", "right answers, classes with fewest images"),
                ("worst_class_top1", "right answers of the worst class"),
            )
        ),
        Metric("ties", "answers that a tie decides", "%", None, 2),
        Metric("nll", "-log p of the true class", "nats", SMALLER, 3),
        Metric(
            *("label_entropy", "entropy of the labels: nll is no less", "nats", None, 3),
            needs_soft_labels=True,
        ),
        Metric(
            *("kl", "nll minus label_entropy", "nats", SMALLER, 3),
            needs_soft_labels=True,
        ),
        Metric(
            *("total_variation", "distance of p and q, half the sum of |p - q|", "", SMALLER, 3),
            needs_soft_labels=True,
        ),
        Metric(
            *("entropy_correlation", "of the entropies of p and q (Pearson)", "", LARGER, 3),
            needs_soft_labels=True,
        ),
        Metric("true_kl", "KL(p(y|x) || p)", "nats", SMALLER, 3, prefixes=TESTED),
        Metric("brier", "squared error of p, 0 to 2", "", SMALLER, 3),
        Metric(
            *("nll_calibration", "nll that a temperature takes away", "nats", SMALLER, 3),
            prefixes=("test",),
        ),
        Metric(
            *("brier_calibration", "brier that a temperature takes away", "", SMALLER, 3),
            prefixes=("test",),
            is_detail=True,
        ),
        Metric("ece", "calibration error, 15 bins", "%", SMALLER, 2),
        Metric(
            *("true_ece", "ece against p(y|x), without label noise", "%", SMALLER, 2),
            prefixes=TESTED,
        ),
        Metric("ece_equal_mass", "ece with as many images in each bin", "%", SMALLER, 2),
        Metric("ece_classwise", "ece of each class's probability, mean", "%", SMALLER, 2),
        Metric("ece_debiased", "root mean square gap, without noise", "%", SMALLER, 2),
        Metric("mce", "the worst bin's calibration error", "%", SMALLER, 2),
        Metric("smece", "smooth calibration error, no bins", "%", SMALLER, 2),
        Metric("ks", "largest cumulated gap", "%", SMALLER, 2),
        Metric("overconfidence", "mean confidence - accuracy", "%", None, 2),
        Metric("confidence", "mean confidence", "%", None, 2),
        Metric("entropy", "mean entropy of the probabilities", "nats", None, 3),
        Metric("aurc", "mean risk over coverages", "%", SMALLER, 3),
        Metric("eaurc", "aurc above the best order's", "%", SMALLER, 3),
        Metric("auroc_correct", "are right answers more certain?", "%", LARGER, 2),
        Metric("augrc", "wrong and not held back, over coverages", "%", SMALLER, 3),
        *(
            Metric(
                f"risk_at_{coverage}",
                f"wrong answers of the {coverage} % most certain",
                "%",
                SMALLER,
                2,
                is_detail=coverage != MAIN_COVERAGE,
            )
            for coverage in COVERAGES
        ),
        *(
            Metric(
                f"{name}_train_prior",
                f"{name} at train's class frequencies",
                unit,
                better,
                decimals,
                prefixes=UNCORRECTED,
                needs_class_sizes=True,
            )
            for name, unit, better, decimals in AT_TRAIN_PRIOR
        ),
    )
}

# Images with an attribute: `test_group/VALUE/top1` and so on, `test_group_se`, `test_group_null`,
# the same under `test_ts_group`; the worst group is `test/worst_group_top1`, and under `test_null`
# what it would be by chance. See `subgroups.py`.
OF_GROUPS, WORST_GROUP = "test_group/", "worst_group_top1"

# under `PREFIX_null`: what a calibrated model shows on so many images, and a p-value
BAND = ("ece_mean", "ece_low", "ece_high", "overconfidence_low", "overconfidence_high", "p")

# how far val/nll fell in the last tenth of the epochs, with its noise: see `last_tenth.py`
LAST_TENTH = FALL, NOISE, FREEDOM, REACHED = (
    "val_last_tenth/fall",
    "val_last_tenth/noise",
    "val_last_tenth/degrees_of_freedom",
    "val_last_tenth/value",
)
# what a net learns from noisy labels, after each epoch: see `training/noise_curves.py`
NOISE_CURVES = KEPT_LABELS, MEMORISED, CORRECTED, CLEAN_VAL = (
    "train_clean/top1",
    "train_noisy/memorised",
    "train_noisy/top1",
    "val_clean/top1",
)
# how the keys begin that cannot be computed from a run's files: outputs on train and val are not
# kept
OF_VAL = ("val/", "val_last_tenth/", *NOISE_CURVES)


def calibrators_in(metrics: Container[str]) -> list[str]:
    """Names of the calibrators whose numbers are among the metrics of a result, by their keys."""
    return [name for name, prefix in PREFIXES.items() if f"{prefix}/top1" in metrics]
