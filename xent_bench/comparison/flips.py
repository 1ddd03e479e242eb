"""Pairs of losses whose order by a metric changes with temperature scaling."""

from itertools import combinations
from typing import NamedTuple

from xent_bench.comparison.contrasts import Field, Pairs
from xent_bench.comparison.stats import LEVEL
from xent_bench.comparison.yardsticks import Yardstick


class Flip(NamedTuple):
    """A pair of losses whose order by a metric changes with temperature scaling."""

    as_trained: str  # label of the better loss as trained
    scaled: str  # label of the better loss after scaling
    shown: bool  # whether both orders are significant, corrected over all pairs of losses


def flips(field: Field, raw: Yardstick, scaled: Yardstick) -> list[Flip]:
    """Find the pairs of losses whose order by a yardstick changes with temperature scaling.

    A change of order is shown if both differences are significant: the larger of their two p,
    corrected over all pairs of losses (Bonferroni), is below LEVEL.
    """
    changed, tested_pairs = [], 0
    for one, other in combinations(field.runs, 2):
        pairs = [field.paired(one, other, by.key) for by in (raw, scaled)]
        if not all(pairs):
            continue
        tested_pairs += 1
        before, after = (_total(runs, by) for runs, by in zip(pairs, (raw, scaled), strict=True))
        if before * after < 0:
            first, second = (one, other) if raw.better * before > 0 else (other, one)
            ps = [
                field.difference(runs, by).p for runs, by in zip(pairs, (raw, scaled), strict=True)
            ]
            changed.append((first, second, max(1.0 if p is None else p for p in ps)))
    return [Flip(first, second, tested_pairs * p < LEVEL) for first, second, p in changed]


def _total(pairs: Pairs, by: Yardstick) -> float:
    """Sum of the differences over the pairs; it has the sign of their mean."""
    return sum(one.metrics[by.key] - other.metrics[by.key] for one, other in pairs)
