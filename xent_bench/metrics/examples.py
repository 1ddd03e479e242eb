"""One pass over a split's outputs: what they say of each example."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xent_bench.arrays import Labels, LogProbabilities, Outputs, Values
from xent_bench.links import Link
from xent_bench.metrics.classwise import ClassGaps
from xent_bench.metrics.ranked import Ranked, rank

BLOCK = 2**17  # outputs at a time: what is computed of them stays in a processor's cache


class Probabilistic(NamedTuple):
    """What needs probabilities, example by example; and of each class its gaps, bin by bin."""

    nll: Values  # -log p_y, in nats; inf if the true class was given probability 0
    brier: Values  # sum_k (p_k - e_k)^2 with e one-hot, in [0, 2].  Brier, 1950
    entropy: Values  # -sum_k p_k log p_k, in nats
    confidence: Values  # the probability of the class that is answered
    class_gaps: ClassGaps


class Examples(NamedTuple):
    """What can be said of outputs z with or without probabilities, example by example."""

    target: Labels
    answer: Labels  # the class with the largest output; of several, the first
    top1: Values  # see `hits`
    top5: Values | None  # from five classes on
    ties: Values  # 1 where the largest output is that of several classes, else 0
    margin: Values  # the largest output minus the second
    probabilistic: Probabilistic | None  # where the link gives probabilities

    @property
    def certainty(self) -> Values:
        """By what answers are ranked: confidence; of a margin loss, the margin."""
        return self.margin if self.probabilistic is None else self.probabilistic.confidence

    @property
    def ranked(self) -> Ranked:
        """In the order of their certainty."""
        return rank(self.certainty, self.top1)


def examine(outputs: Outputs, target: Labels, link: Link) -> Examples:
    """Read outputs by a link, in float64, a block of rows at a time.

    A ValueError if an output is NaN or infinite (-inf may be: the log of 0), if a log-probability
    is NaN, or if a target is no class.
    """
    n, c = outputs.shape
    if n == 0 or not 0 <= target.min() <= target.max() < c:
        got = f"{target.min()} to {target.max()}" if n else "no example"
        raise ValueError(f"expected targets from 0 to {c - 1}, got {got}")
    rows = max(1, BLOCK // c)
    blocks = [slice(start, start + rows) for start in range(0, n, rows)]
    parts = (_examine(outputs[block].astype(np.float64), target[block], link) for block in blocks)
    return Examples(*(_joined(values) for values in zip(*parts, strict=True)))


def _joined(values: Sequence[Any]) -> Any:
    """Of blocks, one of the split: examples behind one another, sums added."""
    if values[0] is None:
        return None
    if isinstance(values[0], Probabilistic):
        return Probabilistic(*(_joined(each) for each in zip(*values, strict=True)))
    if isinstance(values[0], ClassGaps):
        return ClassGaps.sum(values)
    return np.concatenate(values)


def hits(outputs: Outputs, target: Labels, ks: Sequence[int]) -> list[Values]:
    """Probability that the target is among the k largest outputs when ties are broken at random.

    0 or 1 without ties; the same whatever the order of the classes. (The usual first-of-the-tied
    rule gives a net that answers a constant the accuracy of whatever class comes first.)
    """
    true = np.take_along_axis(outputs, target[:, None], axis=1)
    ahead, tied = (outputs > true).sum(axis=1), (outputs == true).sum(axis=1)
    return [np.clip((k - ahead) / tied, 0, 1) for k in ks]


def _examine(outputs: Outputs, target: Labels, link: Link) -> Examples:
    if not (outputs < np.inf).all():
        raise ValueError("expected finite outputs, got NaN or infinity among them")
    answer = outputs.argmax(axis=1)
    top1, *top5 = hits(outputs, target, (1, 5) if outputs.shape[1] >= 5 else (1,))
    margin = _margin(outputs, answer)
    with np.errstate(invalid="ignore"):  # refused below
        log_p = link(outputs)
    found = None if log_p is None else _with_probabilities(log_p, target, answer)
    ties = (margin == 0).astype(np.float64)
    return Examples(target, answer, top1, top5[0] if top5 else None, ties, margin, found)


def _margin(outputs: Outputs, answer: Labels) -> Values:
    """The largest output minus the second: a maximum without it, which is put back."""
    place = answer[:, None]
    largest = np.take_along_axis(outputs, place, axis=1)
    np.put_along_axis(outputs, place, -np.inf, axis=1)
    second = outputs.max(axis=1)
    np.put_along_axis(outputs, place, largest, axis=1)
    largest = largest[:, 0]
    margin: Values = np.zeros(len(answer))
    np.subtract(largest, second, where=largest > second, out=margin)  # not -inf from -inf
    return margin


def _with_probabilities(log_p: LogProbabilities, target: Labels, answer: Labels) -> Probabilistic:
    if np.isnan(log_p).any():
        raise ValueError("expected log-probabilities, got NaN among them")
    every = np.arange(len(target))
    nll = -log_p[every, target] + 0.0  # no -0.0
    p = np.exp(log_p)
    entropy = -np.einsum("ij,ij->i", p, np.maximum(log_p, -800))  # p is 0 there: 0 log 0 = 0
    confidence = p[every, answer]
    p[every, target] -= 1
    brier = np.einsum("ij,ij->i", p, p)
    p[every, target] += 1
    return Probabilistic(nll, brier, entropy, confidence, ClassGaps.of(p, target))
