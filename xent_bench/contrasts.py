"""Losses against a baseline, and against the best: differences paired by seed, and verdicts.

Three families of tests, each of which errs in at most 5 of 100 comparisons: the primary metric over
all losses; the secondary metrics that a conclusion quotes, over all of them and all losses; and the
marks of the best, in each column over all pairs of losses. Other metrics have no verdict.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isfinite
from statistics import fmean
from typing import NamedTuple

from xent_bench.runs import Run
from xent_bench.stats import LEVEL, Difference, choice_widening, difference, holm, p_of_all_pairs
from xent_bench.yardsticks import Yardstick, quoted

Runs = Mapping[str, Sequence[Run]]  # finished ones, by the loss's label
Pairs = list[tuple[Run, Run]]
OPEN, UNJUDGED = "inconclusive", "not judged"


class Contrast(NamedTuple):
    """A loss against the baseline by one yardstick; p are corrected over their family (Holm)."""

    label: str
    yardstick: Yardstick
    difference: Difference
    p: float | None
    p_tie: float | None
    same: bool  # weights, bit for bit: one loss in two formats
    verdict: str  # better, worse, tie within D, inconclusive; not judged; or same


class Field(NamedTuple):
    """The losses that compete, and among how many trials each was chosen."""

    runs: Runs
    trials: int

    def paired(self, label: str, other: str, key: str) -> Pairs:
        """Runs of two losses that have a metric, with the seeds that both have."""
        return paired(self.runs[label], self.runs[other], key)

    def difference(self, pairs: Pairs, by: Yardstick) -> Difference:
        """The first of each pair minus the second; its error is that of tuned losses."""
        ours, theirs = zip(*((a.metrics[by.key], b.metrics[by.key]) for a, b in pairs), strict=True)
        widening = choice_widening(len(pairs), self.trials)
        return difference(ours, theirs, by.tie, by.better, widening=widening)


def contrasts(
    field: Field, baseline: str, yardsticks: Sequence[Yardstick], primary: str
) -> list[Contrast]:
    """Every loss but the baseline, by every yardstick that both have."""
    if baseline not in field.runs:
        return []
    secondary = set(quoted(primary)) - {primary}
    families = (
        [by for by in yardsticks if by.key == primary],
        [by for by in yardsticks if by.key in secondary],
    )
    others = [by for by in yardsticks if by.key not in quoted(primary)]
    judged = [contrast for family in families for contrast in _family(field, baseline, family)]
    unjudged = [
        contrast if contrast.same else contrast._replace(p=None, p_tie=None, verdict=UNJUDGED)
        for contrast in _family(field, baseline, others)
    ]
    place = {by.key: number for number, by in enumerate(yardsticks)}
    return sorted([*judged, *unjudged], key=lambda contrast: place[contrast.yardstick.key])


def paired(runs: Sequence[Run], others: Sequence[Run], key: str) -> Pairs:
    """Runs that have a metric, with the seeds that both losses have, in the seeds' order."""
    one, other = (
        {int(run.params["seed"]): run for run in group if key in run.metrics}
        for group in (runs, others)
    )
    return [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]


def _family(field: Field, baseline: str, yardsticks: Sequence[Yardstick]) -> list[Contrast]:
    """Contrasts that are corrected together.

    What ends with the same weights, as two formats of one loss, is no member.
    """
    members = [
        (label, by, pairs)
        for by in yardsticks
        for label in field.runs
        if label != baseline and (pairs := field.paired(label, baseline, by.key))
    ]
    differences = [field.difference(pairs, by) for _, by, pairs in members]
    same = [all(_same(*pair) for pair in pairs) for _, _, pairs in members]
    tested = list(zip(differences, same, strict=True))
    ps = holm([None if is_same else delta.p for delta, is_same in tested])
    ties = holm([None if is_same else delta.p_tie for delta, is_same in tested])
    return [
        Contrast(
            label, by, delta, p, tie, is_same, "same" if is_same else _verdict(delta, p, tie, by)
        )
        for (label, by, _), (delta, is_same), p, tie in zip(members, tested, ps, ties, strict=True)
    ]


def _same(run: Run, other: Run) -> bool:
    ended = run.tags.get("weights_sha256")
    return ended is not None and ended == other.tags.get("weights_sha256")


def _verdict(delta: Difference, p: float | None, p_tie: float | None, by: Yardstick) -> str:
    """A difference that is surely small is a tie, also where it is surely there."""
    if p_tie is not None and p_tie < LEVEL:
        return f"tie within {by.margin()}"
    if p is not None and p < LEVEL:
        return "better" if by.better * delta.mean > 0 else "worse"
    return OPEN


class Leaders(NamedTuple):
    """The loss with the best mean by one yardstick, and those that are not told from it.

    Empty where nothing can be told: one loss, one seed, or no loss that differs from the best.
    """

    best: str = ""
    tied: frozenset[str] = frozenset()


def leaders(field: Field, by: Yardstick) -> Leaders:
    """Find the loss with the best mean, and mark it if another loss is shown to be worse.

    Losses compete on the same seeds, those that more than half of them have, and need two. All
    pairs are tested, paired by seed, and corrected together (Holm), since any loss may come out
    best: of equal losses at most 5 of 100 columns have a mark. What ends with the same weights, as
    two formats of one loss, counts once.
    """
    competing = _competing(field.runs, by.key)
    if len(competing) < 2:
        return Leaders()
    means = {label: fmean(run.metrics[by.key] for run in runs) for label, runs in competing.items()}
    best = max(means, key=lambda label: by.better * means[label])
    alike = _alike(competing)
    distinct = list(dict.fromkeys(alike.values()))
    values = [[run.metrics[by.key] for run in competing[label]] for label in distinct]
    pairs = list(combinations(distinct, 2))
    ps = holm(p_of_all_pairs(values, choice_widening(len(values[0]), field.trials)))
    different = {two for two, p in zip(pairs, ps, strict=True) if p is not None and p < LEVEL}
    beaten = {label for two in different if alike[best] in two for label in two} - {alike[best]}
    beaten |= {label for label in distinct if isfinite(means[best]) and not isfinite(means[label])}
    if not beaten:
        return Leaders()
    tied = {label for label in competing if label != best and alike[label] not in beaten}
    return Leaders(best, frozenset(tied))


def _competing(runs: Runs, key: str) -> dict[str, list[Run]]:
    """Runs by loss on the seeds that more than half of the losses have; of losses with all these.

    Empty where that leaves fewer than two seeds.
    """
    scored = {
        label: {int(run.params["seed"]): run for run in group}
        for label, group in runs.items()
        if len(group) > 1 and all(key in run.metrics for run in group)
    }
    counts = Counter(seed for by_seed in scored.values() for seed in by_seed)
    seeds = sorted(seed for seed, count in counts.items() if 2 * count > len(scored))
    if len(seeds) < 2:
        return {}
    return {
        label: [by_seed[seed] for seed in seeds]
        for label, by_seed in scored.items()
        if by_seed.keys() >= set(seeds)
    }


def _alike(runs: Runs) -> dict[str, str]:
    """Map each loss to the first that ended with the same weights in every run, mostly itself."""
    first: dict[str, str] = {}
    for label in runs:
        twins = (
            other
            for other in dict.fromkeys(first.values())
            if all(map(_same, runs[label], runs[other]))
        )
        first[label] = next(twins, label)
    return first


class Flip(NamedTuple):
    """Two losses of which one has the smaller mean as trained, the other after scaling."""

    as_trained: str
    scaled: str
    shown: bool  # both orders, corrected over all pairs of losses


def flips(field: Field, raw: Yardstick, scaled: Yardstick) -> list[Flip]:
    """Pairs whose order by a yardstick turns with temperature scaling.

    An order that turns is shown where both differences are: the larger p of the two, corrected over
    all pairs (Bonferroni).
    """
    turned, number = [], 0
    for one, other in combinations(field.runs, 2):
        pairs = [field.paired(one, other, by.key) for by in (raw, scaled)]
        if not all(pairs):
            continue
        number += 1
        before, after = (_mean(runs, by) for runs, by in zip(pairs, (raw, scaled), strict=True))
        if before * after < 0:
            first, second = (one, other) if raw.better * before > 0 else (other, one)
            ps = [field.difference(*two).p for two in zip(pairs, (raw, scaled), strict=True)]
            turned.append((first, second, max(1.0 if p is None else p for p in ps)))
    return [Flip(first, second, number * p < LEVEL) for first, second, p in turned]


def _mean(pairs: Pairs, by: Yardstick) -> float:
    return sum(one.metrics[by.key] - other.metrics[by.key] for one, other in pairs)
