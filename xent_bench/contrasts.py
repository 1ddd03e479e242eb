"""Losses against a baseline, and against the best: differences paired by seed, and verdicts."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isfinite
from statistics import fmean
from typing import NamedTuple

from xent_bench.runs import Run
from xent_bench.stats import LEVEL, Difference, difference, holm
from xent_bench.yardsticks import Yardstick

Runs = Mapping[str, Sequence[Run]]  # finished ones, by the loss's label


class Contrast(NamedTuple):
    """A loss against the baseline by one yardstick; p are corrected over the losses (Holm)."""

    label: str
    yardstick: Yardstick
    difference: Difference
    p: float | None
    p_tie: float | None
    same: bool  # weights, bit for bit: one loss in two formats
    verdict: str  # better, worse, tie within D, inconclusive; or same


def contrasts(runs: Runs, baseline: str, yardsticks: Sequence[Yardstick]) -> list[Contrast]:
    """Of every loss but the baseline, by every yardstick that both have; a family each."""
    found: list[Contrast] = []
    for yardstick in yardsticks if baseline in runs else ():
        pairs = {label: paired(runs[label], runs[baseline], yardstick.key) for label in runs}
        found += _family(yardstick, {k: v for k, v in pairs.items() if v and k != baseline})
    return found


def paired(runs: Sequence[Run], others: Sequence[Run], key: str) -> list[tuple[Run, Run]]:
    """Runs that have a metric, with the seeds that both losses have, in the seeds' order."""
    one, other = (
        {int(run.params["seed"]): run for run in each if key in run.metrics}
        for each in (runs, others)
    )
    return [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]


def paired_difference(pairs: Sequence[tuple[Run, Run]], by: Yardstick) -> Difference:
    """Of the first of each pair minus the second."""
    ours, theirs = zip(*((a.metrics[by.key], b.metrics[by.key]) for a, b in pairs), strict=True)
    return difference(ours, theirs, by.tie, by.better)


def _family(yardstick: Yardstick, pairs: Mapping[str, list[tuple[Run, Run]]]) -> list[Contrast]:
    """What ends with the same weights, as two formats of one loss, is no member of it."""
    found = {label: paired_difference(pair, yardstick) for label, pair in pairs.items()}
    same = {label: all(_same(*two) for two in pair) for label, pair in pairs.items()}
    ps = holm([None if same[label] else each.p for label, each in found.items()])
    ties = holm([None if same[label] else each.p_tie for label, each in found.items()])
    return [
        Contrast(
            label,
            yardstick,
            each,
            p,
            tie,
            same[label],
            "same" if same[label] else _verdict(each, p, tie, yardstick),
        )
        for (label, each), p, tie in zip(found.items(), ps, ties, strict=True)
    ]


def _same(run: Run, other: Run) -> bool:
    ended = run.tags.get("weights_sha256")
    return ended is not None and ended == other.tags.get("weights_sha256")


def _verdict(found: Difference, p: float | None, p_tie: float | None, by: Yardstick) -> str:
    """A difference that is surely small is a tie, also where it is surely there."""
    if p_tie is not None and p_tie < LEVEL:
        return f"tie within {by.margin()}"
    if p is not None and p < LEVEL:
        return "better" if by.better * found.mean > 0 else "worse"
    return "inconclusive"


class Leaders(NamedTuple):
    """Of one yardstick: the loss with the best mean, and those that are not told from it.

    Empty where nothing can be told: one loss, one seed, or no loss that differs from the best.
    """

    best: str = ""
    tied: frozenset[str] = frozenset()


def leaders(runs: Runs, yardstick: Yardstick) -> Leaders:
    """By differences to the best, paired by seed and corrected by Holm; of losses that share two
    seeds with it at least.
    """
    means = {
        label: fmean(run.metrics[yardstick.key] for run in own)
        for label, own in runs.items()
        if own and all(yardstick.key in run.metrics for run in own)
    }
    if len(means) < 2:
        return Leaders()
    best = max(means, key=lambda label: yardstick.better * means[label])
    pairs = {label: paired(runs[label], runs[best], yardstick.key) for label in means}
    others = {k: pair for k, pair in pairs.items() if k != best and len(pair) > 1}
    twins = {k for k, pair in others.items() if all(_same(*two) for two in pair)}
    found = {k: paired_difference(others[k], yardstick) for k in others if k not in twins}
    ps = dict(zip(found, holm([each.p for each in found.values()]), strict=True))
    shown = {k for k, p in ps.items() if p is not None and p < LEVEL}
    beaten = shown | {k for k, each in found.items() if not isfinite(each.mean)}
    if not beaten:
        return Leaders()
    return Leaders(best, frozenset(others.keys() - beaten))


class Flip(NamedTuple):
    """Two losses of which one has the smaller mean as trained, the other after scaling."""

    as_trained: str
    scaled: str
    shown: bool  # each by its own paired interval, which excludes 0


def flips(runs: Runs, raw: Yardstick, scaled: Yardstick) -> list[Flip]:
    """Pairs whose order by a yardstick turns with temperature scaling."""
    found = []
    for pair in combinations(runs, 2):
        before, after = (difference_of(runs, *pair, each) for each in (raw, scaled))
        if before is None or after is None or not before.mean * after.mean < 0:
            continue
        first, second = pair if raw.better * before.mean > 0 else pair[::-1]
        found.append(Flip(first, second, all(map(_excludes_zero, (before, after)))))
    return found


def difference_of(runs: Runs, one: str, other: str, by: Yardstick) -> Difference | None:
    """Between any two losses; None if they share no seed for which both have the metric."""
    pairs = paired(runs[one], runs[other], by.key)
    return paired_difference(pairs, by) if pairs else None


def _excludes_zero(found: Difference) -> bool:
    return found.half_width is not None and abs(found.mean) > found.half_width
