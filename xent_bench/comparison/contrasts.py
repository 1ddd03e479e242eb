"""Differences between losses, paired by seed: to a baseline and to the best loss, with verdicts.

Tests are corrected in three families, and each family has a false positive in at most 5 of 100
comparisons: (1) the primary metric, over all losses; (2) the secondary metrics, which the
conclusion quotes, over all of these metrics and all losses; (3) the marks of the best loss, for
each column over all pairs of losses. Other metrics get no verdict.
Where runs declare a sequential design, every p and every interval holds at all of its looks.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from math import isfinite
from statistics import fmean
from typing import NamedTuple

from xent_bench.comparison.boundary import Boundary
from xent_bench.comparison.sequential import OPEN as STILL_OPEN
from xent_bench.comparison.sequential import SAME, TIE, Decision, up_to_now
from xent_bench.comparison.stats import (
    LEVEL,
    Difference,
    Rivals,
    difference,
    holm,
    p_of_all_pairs,
    widest,
)
from xent_bench.comparison.trials import seed_of
from xent_bench.comparison.yardsticks import COMPARED, Yardstick, quoted
from xent_bench.runs.result import Run

Runs = Mapping[str, Sequence[Run]]  # finished runs, by the loss's label
Pairs = list[tuple[Run, Run]]
OPEN, UNJUDGED = "inconclusive", "not judged"


class Contrast(NamedTuple):
    """Comparison of one loss with the baseline by one yardstick.

    `p` and `p_tie` are corrected over their family of tests (Holm).
    """

    label: str
    yardstick: Yardstick
    difference: Difference
    p: float | None
    p_tie: float | None
    same: bool  # both losses ended with the same weights, bit for bit: one loss in two formats
    verdict: str  # better, worse, tie within D, inconclusive, not judged, or same
    look: int | None = None  # number of the look of a design at which the verdict fell, from 0


class Field(NamedTuple):
    """The competing losses' runs, and how errors are to be computed.

    `rivals` are the largest numbers of trials that a loss was chosen from, `boundary` is that of a
    sequential design, None without one. With a boundary, the runs of a loss are in the order of
    seeds and go up to a look.
    """

    runs: Runs
    rivals: Rivals
    boundary: Boundary | None = None

    def paired(self, label: str, other: str, key: str) -> Pairs:
        """Pair the runs of two losses by seed; runs without the metric `key` are left out."""
        return paired(self.runs[label], self.runs[other], key)

    def difference(self, pairs: Pairs, by: Yardstick) -> Difference:
        """Mean of first run minus second run over the pairs, with the error of tuned losses.

        With a boundary, p values and interval are those that hold at every look.
        """
        ours, theirs = zip(*((a.metrics[by.key], b.metrics[by.key]) for a, b in pairs), strict=True)
        if self.boundary is not None:
            return up_to_now(ours, theirs, by.tie, by.better, self.boundary)
        widening = widest(len(pairs), self.rivals)
        return difference(ours, theirs, by.tie, by.better, widening=widening)

    def p_of_all_pairs(self, values: Sequence[Sequence[float]]) -> list[float | None]:
        """Two-sided p of every two rows of scores, a row for each loss and a column for each seed.

        With a boundary, p holds at every look; None if the seeds are not those of a look.
        """
        n = len(values[0])
        ps = p_of_all_pairs(values, widest(n, self.rivals))
        if self.boundary is None:
            return ps
        if n not in self.boundary.looks:
            return [None] * len(ps)
        return [None if p is None else self.boundary.p(p / self.boundary.weight(n)) for p in ps]


def contrasts(
    field: Field,
    baseline: str,
    yardsticks: Sequence[Yardstick],
    primary: str,
    decisions: Mapping[str, Decision] | None = None,
    compared: Sequence[str] = COMPARED,
) -> list[Contrast]:
    """Compare every other loss with the baseline, by every yardstick that both have.

    `compared` are the keys of the metrics with a verdict, beside the primary one. `decisions`
    are those of a sequential design by the primary metric, by label. The result is in the order of
    `yardsticks`; empty if the baseline has no runs.
    """
    if baseline not in field.runs:
        return []
    secondary = set(compared) - {primary}
    families = (
        [by for by in yardsticks if by.key == primary],
        [by for by in yardsticks if by.key in secondary],
    )
    others = [by for by in yardsticks if by.key not in quoted(primary, compared)]
    judged = [contrast for family in families for contrast in _family(field, baseline, family)]
    if decisions is not None:
        judged = [
            _decided(contrast, decisions[contrast.label])
            if contrast.yardstick.key == primary
            else contrast
            for contrast in judged
        ]
    unjudged = [
        contrast if contrast.same else contrast._replace(p=None, p_tie=None, verdict=UNJUDGED)
        for contrast in _family(field, baseline, others)
    ]
    place = {by.key: number for number, by in enumerate(yardsticks)}
    return sorted([*judged, *unjudged], key=lambda contrast: place[contrast.yardstick.key])


def paired(runs: Sequence[Run], others: Sequence[Run], key: str) -> Pairs:
    """Pair the runs of two losses that have the metric `key` and the same seed, by seed."""
    by_seed, others_by_seed = (
        {seed_of(run): run for run in group if key in run.metrics} for group in (runs, others)
    )
    shared = sorted(by_seed.keys() & others_by_seed.keys())
    return [(by_seed[seed], others_by_seed[seed]) for seed in shared]


def _family(field: Field, baseline: str, yardsticks: Sequence[Yardstick]) -> list[Contrast]:
    """Compare all losses with the baseline by these yardsticks, and correct the p values together.

    A loss that ended with the baseline's weights (the same loss in another format of label) is
    not tested and does not count in the correction.
    """
    members = [
        (label, by, pairs)
        for by in yardsticks
        for label in field.runs
        if label != baseline and (pairs := field.paired(label, baseline, by.key))
    ]
    differences = [field.difference(pairs, by) for _, by, pairs in members]
    same = [all_same_weights(pairs) for _, _, pairs in members]
    tested = list(zip(differences, same, strict=True))
    ps = holm([None if is_same else delta.p for delta, is_same in tested])
    ties = holm([None if is_same else delta.p_tie for delta, is_same in tested])
    return [
        Contrast(
            label, by, delta, p, tie, is_same, "same" if is_same else verdict_of(delta, p, tie, by)
        )
        for (label, by, _), (delta, is_same), p, tie in zip(members, tested, ps, ties, strict=True)
    ]


def _decided(contrast: Contrast, decision: Decision) -> Contrast:
    """The comparison by the primary metric as the looks of a design have decided it."""
    words = {STILL_OPEN: OPEN, TIE: f"tie within {contrast.yardstick.margin()}"}
    return contrast._replace(
        difference=decision.difference or contrast.difference,
        p=decision.p,
        p_tie=decision.p_tie,
        same=decision.verdict == SAME,
        verdict=words.get(decision.verdict, decision.verdict),
        look=decision.look,
    )


def same_weights(run: Run, other: Run) -> bool:
    """Whether both runs ended with the same weights, bit for bit."""
    weights = run.tags.get("weights_sha256")
    return weights is not None and weights == other.tags.get("weights_sha256")


def all_same_weights(pairs: Pairs) -> bool:
    """Whether the runs of every pair, of which there is at least one, ended with equal weights."""
    return bool(pairs) and all(same_weights(*pair) for pair in pairs)


def verdict_of(delta: Difference, p: float | None, p_tie: float | None, by: Yardstick) -> str:
    """The verdict on a difference: tie, better, worse or inconclusive, by its corrected p values.

    A difference that is significant and also significantly smaller than the tie margin is a tie.
    """
    if p_tie is not None and p_tie < LEVEL:
        return f"tie within {by.margin()}"
    if p is not None and p < LEVEL:
        return "better" if by.better * delta.mean > 0 else "worse"
    return OPEN


class Leaders(NamedTuple):
    """The loss with the best mean by one yardstick, and the losses not shown to differ from it.

    Both are empty if there is only one loss or one seed, or if no loss is shown to be worse.
    """

    best: str = ""  # label
    tied: frozenset[str] = frozenset()  # labels


def leaders(field: Field, by: Yardstick) -> Leaders:
    """Find the loss with the best mean, and mark it if another loss is shown to be worse.

    Losses compete on the seeds that more than half of them have; at least two such seeds are
    needed. All pairs of losses are tested, paired by seed, and corrected together (Holm), because
    any loss may come out best: if all losses are equal, at most 5 of 100 columns get a mark.
    Losses that ended with the same weights (one loss in two formats of label) count once.
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
    ps = holm(field.p_of_all_pairs(values))
    different = {pair for pair, p in zip(pairs, ps, strict=True) if p is not None and p < LEVEL}
    beaten = {label for pair in different if alike[best] in pair for label in pair} - {alike[best]}
    beaten |= {label for label in distinct if isfinite(means[best]) and not isfinite(means[label])}
    if not beaten:
        return Leaders()
    tied = {label for label in competing if label != best and alike[label] not in beaten}
    return Leaders(best, frozenset(tied))


def _competing(runs: Runs, key: str) -> dict[str, list[Run]]:
    """Runs of each competing loss, on the seeds that more than half of the losses have.

    A loss that lacks one of these seeds is left out. Empty if there are fewer than two such seeds.
    """
    scored = {
        label: {seed_of(run): run for run in group}
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
    """Map each loss to the first loss with the same weights in every run; mostly to itself."""
    first: dict[str, str] = {}
    for label in runs:
        twins = (
            other
            for other in dict.fromkeys(first.values())
            if all(map(same_weights, runs[label], runs[other]))
        )
        first[label] = next(twins, label)
    return first
