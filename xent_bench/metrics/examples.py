"""One pass over the outputs of a split: the numbers of each example that metrics are made from."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.special import entr

from xent_bench.arrays import (
    Labels,
    LogProbabilities,
    Outputs,
    SoftLabels,
    Target,
    Values,
    is_soft,
    normalised,
)
from xent_bench.links import Link
from xent_bench.metrics.accuracy import ClassHits, PerClass
from xent_bench.metrics.classwise import ClassGaps
from xent_bench.metrics.ranked import Ranked, rank

BLOCK = 2**17  # outputs at a time: intermediate results stay in a processor's cache


class Probabilistic(NamedTuple):
    """Numbers of each example that need probabilities p; and the gaps of each class, bin by bin.

    q is the label, one-hot if it is hard.
    """

    # -sum_k q_k log p_k with 0 log 0 = 0, in nats; inf if a class of q_k > 0 was given p_k = 0
    nll: Values
    brier: Values  # sum_k (p_k - q_k)^2, in [0, 2].  Brier, 1950
    entropy: Values  # -sum_k p_k log p_k, in nats
    confidence: Values  # the probability of the answered class
    class_gaps: ClassGaps


class Soft(NamedTuple):
    """Numbers of each example that only soft labels q have; and the hits of each class."""

    label_entropy: Values  # H(q) = -sum_k q_k log q_k, in nats: the least that nll can be
    top1_likeliest: Values  # 1 where the answer is the class of the largest q_k; ties at random
    weighted: Values  # sum_k q_ik h_ik / sum_j q_jk, with h_ik the probability that k is answered
    class_hits: ClassHits
    total_variation: Values | None  # sum_k |p_k - q_k| / 2, in [0, 1]; None without probabilities


@dataclass(frozen=True)
class Examples:
    """Numbers of each example of a split, in the order of the rows of its outputs."""

    target: Target  # soft labels are normalised: rows sum to 1
    answer: Labels  # the class with the largest output; the first of them if several are
    top1: Values  # see `hits`; for soft labels, q of the answer
    top5: Values | None  # None below five classes
    ties: Values  # 1 if several classes share the largest output, else 0
    margin: Values  # the largest output minus the second
    probabilistic: Probabilistic | None  # None if the link gives no probabilities
    soft: Soft | None  # None if labels are hard

    @property
    def certainty(self) -> Values:
        """Number that ranks the answers: confidence, or the margin without probabilities."""
        return self.margin if self.probabilistic is None else self.probabilistic.confidence

    @cached_property
    def ranked(self) -> Ranked:
        """The examples in the order of their certainty."""
        return rank(self.certainty, self.top1, soft=self.soft is not None)


def examine(outputs: Outputs, target: Target, link: Link) -> Examples:
    """Compute the numbers of each example, in float64, a block of rows at a time.

    `link` turns outputs into log-probabilities, if the loss has any. ValueError if an output is NaN
    or +inf (-inf, the log of 0, is allowed), if a log-probability is NaN, or if a target is neither
    a class nor a distribution over the classes.
    """
    n, c = outputs.shape
    _check_target(target, n, c)
    weights = None
    if is_soft(target):
        target = normalised(target)
        weights = target.sum(axis=0)
    rows = max(1, BLOCK // c)
    blocks = [slice(start, start + rows) for start in range(0, n, rows)]
    parts = [
        _examine(outputs[block].astype(np.float64), target[block], link, weights)
        for block in blocks
    ]
    names = [field.name for field in fields(Examples)]
    return Examples(**{name: _joined([getattr(part, name) for part in parts]) for name in names})


def _check_target(target: Target, n: int, c: int) -> None:
    if is_soft(target):
        if n == 0 or target.shape != (n, c) or not (target.min() >= 0 and target.sum(1).all()):
            got = f"{target.shape}, of at least {target.min() if n else 'nothing'}"
            raise ValueError(f"expected soft targets of shape {(n, c)} and at least 0, got {got}")
    elif n == 0 or not 0 <= target.min() <= target.max() < c:
        got = f"{target.min()} to {target.max()}" if n else "no example"
        raise ValueError(f"expected targets from 0 to {c - 1}, got {got}")


def _joined(values: Sequence[Any]) -> Any:
    """Join the same field of all blocks: examples are concatenated, sums added."""
    first = values[0]
    if first is None:
        return None
    if isinstance(first, Probabilistic | Soft):
        return type(first)(*(_joined(parts) for parts in zip(*values, strict=True)))
    if isinstance(first, ClassGaps | ClassHits):
        return type(first).sum(values)
    return np.concatenate(values)


def hits(outputs: Outputs, target: Target, ks: Sequence[int]) -> list[Values]:
    """Probability that the target is among the k largest outputs, for each k.

    Ties are broken at random: the value is 0 or 1 without ties, and does not depend on the order of
    the classes. (The usual rule, that the first of tied classes wins, gives a net with constant
    outputs the accuracy of whatever class comes first.) For soft labels q: sum_j q_j P(class j is
    among the k largest), which is the q of the answer for k = 1.
    """
    if is_soft(target):
        return [np.einsum("ij,ij->i", target, among_largest(outputs, k)) for k in ks]
    true = np.take_along_axis(outputs, target[:, None], axis=1)
    ahead, tied = (outputs > true).sum(axis=1), (outputs == true).sum(axis=1)
    return [np.clip((k - ahead) / tied, 0, 1) for k in ks]


def among_largest(values: Outputs, k: int) -> Outputs:
    """Probability of each class to be among the k largest of its row, ties broken at random."""
    least = -np.partition(-values, k - 1, axis=1)[:, k - 1 : k]
    above, tied = values > least, values == least
    share = (k - above.sum(axis=1, keepdims=True)) / tied.sum(axis=1, keepdims=True)
    probability: Outputs = above + tied * share
    return probability


def _examine(
    outputs: Outputs, target: Target, link: Link, weights: PerClass | None = None
) -> Examples:
    if not (outputs < np.inf).all():
        raise ValueError("expected finite outputs, got NaN or infinity among them")
    answer = outputs.argmax(axis=1)
    top1, *top5 = hits(outputs, target, (1, 5) if outputs.shape[1] >= 5 else (1,))
    margin = _margin(outputs, answer)
    with np.errstate(invalid="ignore"):  # refused below
        log_p = link(outputs)
    probabilistic = None if log_p is None else _with_probabilities(log_p, target, answer)
    ties = (margin == 0).astype(np.float64)
    soft = None
    if is_soft(target) and weights is not None:
        soft = _soft(outputs, log_p, target, weights)
    return Examples(
        *(target, answer, top1, top5[0] if top5 else None, ties, margin),
        probabilistic=probabilistic,
        soft=soft,
    )


def _soft(
    outputs: Outputs, log_p: LogProbabilities | None, q: SoftLabels, weights: PerClass
) -> Soft:
    """Numbers of a block with soft labels; `weights` is the sum of q over the split, by class."""
    answered = among_largest(outputs, 1)
    agreement = np.einsum("ij,ij->i", answered, among_largest(q, 1))
    products = q * answered
    share = np.divide(1, weights, out=np.zeros(len(weights)), where=weights > 0)
    sums = ClassHits(products.sum(axis=0))
    variation = None if log_p is None else np.abs(np.exp(log_p) - q).sum(axis=1) / 2
    return Soft(entr(q).sum(axis=1), agreement, products @ share, sums, variation)


def _margin(outputs: Outputs, answer: Labels) -> Values:
    """The largest output minus the second; the outputs are changed on the way and restored."""
    place = answer[:, None]
    largest = np.take_along_axis(outputs, place, axis=1)
    np.put_along_axis(outputs, place, -np.inf, axis=1)
    second = outputs.max(axis=1)
    np.put_along_axis(outputs, place, largest, axis=1)
    largest = largest[:, 0]
    margin: Values = np.zeros(len(answer))
    np.subtract(largest, second, where=largest > second, out=margin)  # not -inf from -inf
    return margin


def _with_probabilities(log_p: LogProbabilities, target: Target, answer: Labels) -> Probabilistic:
    if np.isnan(log_p).any():
        raise ValueError("expected log-probabilities, got NaN among them")
    every = np.arange(len(target))
    p = np.exp(log_p)
    entropy = -np.einsum("ij,ij->i", p, np.maximum(log_p, -800))  # p is 0 there: 0 log 0 = 0
    confidence = p[every, answer]
    if is_soft(target):
        terms = np.multiply(target, log_p, out=np.zeros(p.shape), where=target > 0)
        brier = np.square(p - target).sum(axis=1)
        gaps = ClassGaps.of(p, target)
        return Probabilistic(-terms.sum(axis=1) + 0.0, brier, entropy, confidence, gaps)
    nll = -log_p[every, target] + 0.0  # no -0.0
    p[every, target] -= 1
    brier = np.einsum("ij,ij->i", p, p)
    p[every, target] += 1
    return Probabilistic(nll, brier, entropy, confidence, ClassGaps.of(p, target))
