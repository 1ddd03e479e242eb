"""What is reported about a split: the one list of it."""

from collections.abc import Callable

import numpy as np

from xent_bench.arrays import Outputs, Target, Values, is_soft
from xent_bench.links import Link, softmax
from xent_bench.metrics.accuracy import (
    balanced_top1,
    balanced_top1_error,
    balanced_top1_soft,
    balanced_top1_soft_error,
)
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


def score(outputs: Outputs, target: Target, link: Link = softmax) -> dict[str, float]:
    """Every metric of a whole split, by name; without probabilities those that need none.

    Absent is what is not defined: top5 below five classes, auroc_correct where all are right;
    label_entropy, kl and top1_likeliest where labels are hard.
    """
    return summary(examine(outputs, target, link))


def summary(examples: Examples) -> dict[str, float]:
    """Every metric of examined examples."""
    found: dict[str, float | None] = {
        name: float(values.mean()) for name, values in means(examples).items()
    }
    found["balanced_top1"] = balanced(examples)
    ranked = examples.ranked
    found |= {name: metric(ranked) for name, metric in of_all(examples).items()}
    if examples.probabilistic is not None:
        found["ece_classwise"] = ece_classwise(examples.probabilistic.class_gaps)
    return {name: value for name, value in found.items() if value is not None}


def balanced(examples: Examples) -> float:
    """Accuracy averaged over classes, of hard labels or soft ones."""
    if examples.soft is not None and is_soft(examples.target):
        return balanced_top1_soft(examples.soft.class_hits, examples.target)
    return balanced_top1(examples.top1, examples.target)


def balanced_error(examples: Examples) -> float | None:
    """Standard error of `balanced`; None where a class is too rare to have one."""
    if examples.soft is not None and is_soft(examples.target):
        soft = examples.soft
        return balanced_top1_soft_error(soft.class_hits, soft.weighted, examples.target)
    return balanced_top1_error(examples.top1, examples.target)


def means(examples: Examples) -> dict[str, Values]:
    """The metrics that are means over examples, and what of each is averaged.

    Of soft labels also their entropy H(q), and kl = sum_k q_k log(q_k / p_k) = nll - H(q).
    """
    found = {"top1": examples.top1, "top5": examples.top5, "ties": examples.ties}
    if examples.soft is not None:
        found["top1_likeliest"] = examples.soft.top1_likeliest
        found["label_entropy"] = examples.soft.label_entropy
    if examples.probabilistic is not None:
        more = examples.probabilistic
        found |= {"nll": more.nll, "brier": more.brier, "entropy": more.entropy}
        found |= {"confidence": more.confidence, "overconfidence": more.confidence - examples.top1}
        if examples.soft is not None:  # not below 0, but for rounding
            found["kl"] = np.maximum(more.nll - examples.soft.label_entropy, 0)
    return {name: values for name, values in found.items() if values is not None}


def of_all(examples: Examples) -> dict[str, Callable[[Ranked], float | None]]:
    """The metrics that look at all examples together, in the order of certainty."""
    return RANKING if examples.probabilistic is None else RANKING | CALIBRATION
