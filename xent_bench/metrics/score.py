"""What is reported about a split: the one list of it."""

from collections.abc import Callable

from xent_bench.arrays import Labels, Outputs, Values
from xent_bench.links import Link, softmax
from xent_bench.metrics.accuracy import balanced_top1
from xent_bench.metrics.calibration import ece, ece_debiased, ece_equal_mass, ks, mce
from xent_bench.metrics.classwise import ece_classwise
from xent_bench.metrics.examples import Examples, examine
from xent_bench.metrics.ranked import Ranked
from xent_bench.metrics.ranking import aurc, auroc_correct, eaurc
from xent_bench.metrics.smooth import smece

RANKING: dict[str, Callable[[Ranked], float | None]] = {
    "aurc": aurc,
    "eaurc": eaurc,
    "auroc_correct": auroc_correct,
}  # whatever certainty is
CALIBRATION: dict[str, Callable[[Ranked], float | None]] = {
    "ece": ece,
    "ece_equal_mass": ece_equal_mass,
    "ece_debiased": ece_debiased,
    "mce": mce,
    "smece": smece,
    "ks": ks,
}  # where certainty is a probability


def score(outputs: Outputs, target: Labels, link: Link = softmax) -> dict[str, float]:
    """Every metric of a whole split, by name; without probabilities those that need none.

    Absent is what is not defined: top5 below five classes, auroc_correct where all are right.
    """
    return summary(examine(outputs, target, link))


def summary(examples: Examples) -> dict[str, float]:
    """Every metric of examined examples."""
    found: dict[str, float | None] = {
        name: float(values.mean()) for name, values in means(examples).items()
    }
    found["balanced_top1"] = balanced_top1(examples.top1, examples.target)
    ranked = examples.ranked
    found |= {name: metric(ranked) for name, metric in of_all(examples).items()}
    if examples.probabilistic is not None:
        found["ece_classwise"] = ece_classwise(examples.probabilistic.class_gaps)
    return {name: value for name, value in found.items() if value is not None}


def means(examples: Examples) -> dict[str, Values]:
    """The metrics that are means over examples, and what of each is averaged."""
    found = {"top1": examples.top1, "top5": examples.top5, "ties": examples.ties}
    if examples.probabilistic is not None:
        more = examples.probabilistic
        found |= {"nll": more.nll, "brier": more.brier, "entropy": more.entropy}
        found |= {"confidence": more.confidence, "overconfidence": more.confidence - examples.top1}
    return {name: values for name, values in found.items() if values is not None}


def of_all(examples: Examples) -> dict[str, Callable[[Ranked], float | None]]:
    """The metrics that look at all examples together, in the order of certainty."""
    return RANKING if examples.probabilistic is None else RANKING | CALIBRATION
