"""The list of functions that compute what is reported about a split; `reported.py` names them."""

from collections.abc import Callable
from functools import partial

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
from xent_bench.metrics.entropy_correlation import entropy_correlation
from xent_bench.metrics.examples import Examples, examine
from xent_bench.metrics.ranked import EachRow, Ranked
from xent_bench.metrics.ranking import augrc, aurc, auroc_correct, eaurc, risk_at
from xent_bench.metrics.reported import COVERAGES
from xent_bench.metrics.smooth import smece

RANKING: dict[str, Callable[[Ranked], EachRow | None]] = {
    "aurc": aurc,
    "eaurc": eaurc,
    "auroc_correct": auroc_correct,
    "augrc": augrc,
    **{f"risk_at_{coverage}": partial(risk_at, coverage / 100) for coverage in COVERAGES},
}  # certainty may be a probability or a margin
CALIBRATION: dict[str, Callable[[Ranked], EachRow | None]] = {
    "ece": ece,
    "ece_equal_mass": ece_equal_mass,
    "ece_debiased": ece_debiased,
    "mce": mce,
    "smece": smece,
    "ks": ks,
}  # certainty must be a probability


def score(outputs: Outputs, target: Target, link: Link = softmax) -> dict[str, float]:
    """Every metric of a whole split, by name.

    A metric that is not defined is absent: what needs probabilities if the link gives none, top5
    below five classes, auroc_correct if all answers are right; label_entropy, kl, total_variation,
    entropy_correlation and top1_likeliest if labels are hard.
    """
    return summary(examine(outputs, target, link))


def summary(examples: Examples) -> dict[str, float]:
    """Every metric of a split whose examples `examine` has read, by name."""
    metrics: dict[str, EachRow | None] = {
        name: float(values.mean()) for name, values in means(examples).items()
    }
    metrics["balanced_top1"] = balanced(examples)
    ranked = examples.ranked
    metrics |= {name: metric(ranked) for name, metric in ranked_metrics(examples).items()}
    if examples.probabilistic is not None:
        metrics["ece_classwise"] = ece_classwise(examples.probabilistic.class_gaps)
        if examples.soft is not None:
            entropies = examples.probabilistic.entropy, examples.soft.label_entropy
            metrics["entropy_correlation"] = entropy_correlation(*entropies)
    return {name: float(value) for name, value in metrics.items() if value is not None}


def balanced(examples: Examples) -> float:
    """Accuracy averaged over classes, for hard or soft labels."""
    if examples.soft is not None and is_soft(examples.target):
        return balanced_top1_soft(examples.soft.class_hits, examples.target)
    return balanced_top1(examples.top1, examples.target)


def balanced_error(examples: Examples) -> float | None:
    """Standard error of `balanced`; None if a class is too rare to have one."""
    if examples.soft is not None and is_soft(examples.target):
        soft = examples.soft
        return balanced_top1_soft_error(soft.class_hits, soft.weighted, examples.target)
    return balanced_top1_error(examples.top1, examples.target)


def means(examples: Examples) -> dict[str, Values]:
    """Metrics that are means over examples: the name of each, and the value of every example.

    Soft labels add their entropy H(q), kl = sum_k q_k log(q_k / p_k) = nll - H(q), and the total
    variation between p and q.
    """
    values = {"top1": examples.top1, "top5": examples.top5, "ties": examples.ties}
    if examples.soft is not None:
        values["top1_likeliest"] = examples.soft.top1_likeliest
        values["label_entropy"] = examples.soft.label_entropy
    if examples.probabilistic is not None:
        p = examples.probabilistic
        values |= {"nll": p.nll, "brier": p.brier, "entropy": p.entropy}
        values |= {"confidence": p.confidence, "overconfidence": p.confidence - examples.top1}
        if examples.soft is not None:  # rounding may leave less than 0
            values["kl"] = np.maximum(p.nll - examples.soft.label_entropy, 0)
            values["total_variation"] = examples.soft.total_variation
    return {name: of_example for name, of_example in values.items() if of_example is not None}


def ranked_metrics(examples: Examples) -> dict[str, Callable[[Ranked], EachRow | None]]:
    """Metrics that are functions of all examples together, in the order of certainty."""
    return RANKING if examples.probabilistic is None else RANKING | CALIBRATION
