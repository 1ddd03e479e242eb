"""The cost of answers on test: of the likeliest class, and of the answer of least expected cost.

The answer of least expected cost is argmin_a sum_k p_k cost(k, a) (Elkan, 2001): it is the best
there is if the probabilities p are right, and the worse the more they are off. Calibrators are
fitted on calib, so what is counted on test is honest.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int64
from scipy.special import stdtrit

from xent_bench.arrays import Outputs, Target, Values, is_soft, normalised
from xent_bench.calibrators.temperature import fit_temperature
from xent_bench.evaluation.cost_file import Costs
from xent_bench.evaluation.evaluate import mapped
from xent_bench.links import Link
from xent_bench.metrics.reported import TITLES
from xent_bench.runs.predictions import Predicted, Predictions

Answers: TypeAlias = Int64[np.ndarray, " n"]  # the place of a column of the costs
Probabilities: TypeAlias = Float[np.ndarray, "n true"]  # of the true classes of the costs
Word: TypeAlias = Literal["lower", "higher", "not shown to differ"]

PLAIN, LEAST = "likeliest class", "least cost, "  # rules; the second by the probabilities of ...
LEVEL = 0.05  # of all comparisons of a table together
BLOCK = 2**20  # outputs at a time


class Decision(NamedTuple):
    """A rule that answers, and what its answers to the images of test cost."""

    rule: str
    prefix: str  # of the reading whose probabilities it takes: test, test_ts
    cost: Values  # of each image; for soft labels the mean over the label
    abstains: float  # share of the images that are not answered
    threshold: float | None = None  # probability from which on the second class is answered

    @property
    def is_raw(self) -> bool:
        """Whether it takes the probabilities as trained."""
        return self.prefix == "test" and self.rule != PLAIN

    @property
    def mean(self) -> float:
        """The mean cost of an image."""
        return float(self.cost.mean())

    @property
    def error(self) -> float:
        """The standard error of the mean over the images; NaN for a single one."""
        n = len(self.cost)
        return float(self.cost.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan


class Change(NamedTuple):
    """The cost of one rule less that of another, image by image, with an interval of the mean."""

    mean: float
    low: float
    high: float

    @property
    def word(self) -> Word:
        """Whether the cost is shown to be lower or higher."""
        if self.high < 0:
            return "lower"
        return "higher" if self.low > 0 else "not shown to differ"


def decide(
    predictions: Predictions, costs: Costs, calibrators: Collection[str] = ()
) -> list[Decision]:
    """Answer test by the likeliest class, then at least expected cost by each reading.

    A reading is the net as trained, where its scores are probabilities, after temperature scaling,
    or after one of the calibrators. Where there are two classes, or one and the rest, and no
    abstaining, a rule with the best threshold on calib follows.
    """
    test = predictions.test
    fitted = fit_temperature(predictions.calib, predictions.link)
    plain = test.outputs.argmax(axis=1)
    if costs.positive is not None:
        plain = (plain == costs.positive).astype(np.int64)
    decisions = [_decision(PLAIN, "test", plain, test.target, costs)]
    for prefix, (outputs, link, _) in mapped(predictions, fitted, calibrators).items():
        answers = least_expected(outputs, link, costs)
        if answers is not None:
            rule = f"{LEAST}{TITLES[prefix]}"
            decisions.append(_decision(rule, prefix, answers, test.target, costs))
    if len(costs.names) == 2 and not costs.may_abstain:
        decisions.append(_by_threshold(predictions, costs))
    return decisions


def change(after: Decision, before: Decision, costs: Costs, comparisons: int = 1) -> Change:
    """Compare two rules by the paired differences of their costs.

    The mean with Student's interval at a level of LEVEL / comparisons, each end of which counts one
    image more: at the largest difference, in its direction, that the costs allow. Without that
    image, the rare answer that costs much and happens not to be among those of test would be taken
    for one that never comes: where it costs 100 times as much, intervals of 95 % held as little as
    10 % of the true differences.
    """
    difference = after.cost - before.cost
    n = len(difference)
    t = float(stdtrit(n, 1 - LEVEL / comparisons / 2))
    ends = []
    for sign in (-1, 1):
        padded = np.append(difference, sign * costs.span)
        ends.append(float(padded.mean() + sign * t * padded.std(ddof=1) / math.sqrt(n + 1)))
    return Change(float(difference.mean()), *ends)


def _decision(
    rule: str,
    prefix: str,
    answers: Answers,
    target: Target,
    costs: Costs,
    threshold: float | None = None,
) -> Decision:
    abstains = float((answers >= len(costs.names)).mean())
    return Decision(rule, prefix, cost_of(answers, target, costs), abstains, threshold)


def cost_of(answers: Answers, target: Target, costs: Costs) -> Values:
    """The cost of each answer: cost(true class, answer), or its mean over a soft label."""
    if not is_soft(target):
        true = target if costs.positive is None else (target == costs.positive).astype(np.int64)
        cost: Values = costs.matrix[true, answers]
        return cost
    q = _grouped(normalised(target), costs)
    mean: Values = np.einsum("ij,ji->i", q, costs.matrix[:, answers])
    return mean


def least_expected(outputs: Outputs, link: Link, costs: Costs) -> Answers | None:
    """The answer of least expected cost to each image, the first of several that cost the same.

    None if the link gives no probabilities.
    """
    if link(outputs[:1].astype(np.float64)) is None:
        return None
    return np.concatenate(
        [(p @ costs.matrix).argmin(axis=1) for p in _probabilities(outputs, link, costs)]
    )


def _probabilities(outputs: Outputs, link: Link, costs: Costs) -> Iterator[Probabilities]:
    """The probability of each true class of the costs, a block of images at a time."""
    rows = max(1, BLOCK // outputs.shape[1])
    for start in range(0, len(outputs), rows):
        log_p = link(outputs[start : start + rows].astype(np.float64))
        assert log_p is not None
        yield _grouped(np.exp(log_p), costs)


def _grouped(p: Outputs, costs: Costs) -> Probabilities:
    """Probabilities of all classes, or those of the rest and of the one class."""
    if costs.positive is None:
        return p
    one = p[:, costs.positive]
    return np.stack([p.sum(axis=1) - one, one], axis=1)


def _by_threshold(predictions: Predictions, costs: Costs) -> Decision:
    """Answer the second class where its probability is at least the best threshold of calib.

    Probabilities are those after temperature scaling.
    """
    fitted = fit_temperature(predictions.calib, predictions.link)
    outputs, link, _ = mapped(predictions, fitted, ())["test_ts"]
    of_calib, of_test = (
        np.concatenate([p[:, 1] for p in _probabilities(part, link, costs)])
        for part in (predictions.calib.outputs, outputs)
    )
    threshold = best_threshold(of_calib, predictions.calib, costs)
    answers = (of_test >= threshold).astype(np.int64)
    rule = "best threshold of calib"
    return _decision(rule, "test_ts", answers, predictions.test.target, costs, threshold)


def best_threshold(p: Values, calib: Predicted, costs: Costs) -> float:
    """The threshold of least mean cost on calib: half-way between two probabilities, 0 or infinity.

    Infinity: the second class is never the answer. Of several, the one nearest `right_threshold`.
    """
    first, second = (cost_of(np.full(len(p), answer), calib.target, costs) for answer in (0, 1))
    order = p.argsort(kind="stable")
    rising = p[order]
    # all second; then the k least probable first
    totals = second.sum() + np.append(0, np.cumsum((first - second)[order]))
    is_cut = np.append(True, np.append(np.diff(rising) > 0, True))
    cuts = np.concatenate([[0.0], (rising[1:] + rising[:-1]) / 2, [math.inf]])
    least = totals[is_cut].min()
    best = cuts[is_cut & np.isclose(totals, least, rtol=0, atol=1e-9 * max(1.0, abs(least)))]
    return float(best[np.abs(best - right_threshold(costs)).argmin()])


def right_threshold(costs: Costs) -> float:
    """The probability at which both answers of two cost the same, if probabilities are right."""
    false_alarm = costs.matrix[0, 1] - costs.matrix[0, 0]
    miss = costs.matrix[1, 0] - costs.matrix[1, 1]
    return float(false_alarm / (false_alarm + miss)) if false_alarm + miss > 0 else 0.5


def compared(
    decisions: Sequence[Decision], costs: Costs
) -> list[tuple[Decision, Decision, Change]]:
    """Compare each rule with the likeliest class, and with least expected cost as trained.

    Their intervals hold together in 95 of 100 sets of test images.
    """
    plain, *others = decisions
    pairs = [(other, plain) for other in others]
    raw = [other for other in others if other.is_raw]
    pairs += [(other, raw[0]) for other in others if raw and not other.is_raw]
    return [(after, before, change(after, before, costs, len(pairs))) for after, before in pairs]
