"""Scores of subgroups of test, such as the images of one camera, and the worst of them.

The worst of several groups is bad by chance too: the fewer images, the worse. So beside it stands
what the worst would be on average if the groups did not differ (Sagawa et al., 2020,
arXiv:1911.08731, report the worst group).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int64

from xent_bench.metrics.calibration import ece
from xent_bench.metrics.examples import Examples
from xent_bench.metrics.random_draws import SEED
from xent_bench.metrics.ranked import is_alone, level, rank
from xent_bench.metrics.uncertainty import RESAMPLES, null_band

Ids: TypeAlias = Int64[np.ndarray, " n"]  # of the group of each example

MOST = 12  # groups with scores of their own, those with most images
LEAST = 30  # images of a group that may be the worst: a share of them errs by 9 points at most
DRAWS = 300  # of groups that do not differ
LONGEST = 60  # letters of a group's name in a key


class Worst(NamedTuple):
    """The group with the least accuracy, of those with LEAST images or more."""

    group: int
    top1: float
    by_chance: float  # mean of the least accuracy where outcomes are dealt to the groups at random
    of: int  # groups with so many images


def names_in_keys(values: Sequence[str]) -> tuple[str, ...]:
    """Different names for parts of the keys of metrics: letters, digits, '_', '-' and '.' alone.

    Names that differ by case only, or by what is replaced, get a number: some stores ignore case.
    """
    names: list[str] = []
    taken: set[str] = set()
    for value in values:
        plain = re.sub(r"[^\w.-]", "_", value)[:LONGEST]
        plain = plain.replace(".", "_") if set(plain) <= {"."} else plain
        name, number = plain or "_", 2
        while name.casefold() in taken:
            name, number = f"{plain}_{number}", number + 1
        taken.add(name.casefold())
        names.append(name)
    return tuple(names)


def largest(ids: Ids) -> list[int]:
    """The groups with scores of their own, in the order of their ids: at most MOST."""
    counts = np.bincount(ids)
    by_size = np.argsort(-counts, kind="stable")[:MOST]
    return sorted(int(group) for group in by_size if counts[group])


def subgroup_scores(examples: Examples, ids: Ids, names: Sequence[str]) -> dict[str, float]:
    """Scores of each of the largest groups, under '/NAME/top1', '_se/NAME/top1' and so on.

    Without probabilities there are n and top1 alone. A standard error is absent where a group has
    one image.
    """
    scores: dict[str, float] = {}
    for group in largest(ids):
        is_member = ids == group
        n, name = int(is_member.sum()), names[group]
        scores[f"/{name}/n"] = float(n)
        values = {"top1": examples.top1[is_member]}
        if examples.probabilistic is not None:
            values["nll"] = examples.probabilistic.nll[is_member]
        for key, of_example in values.items():
            scores[f"/{name}/{key}"] = float(of_example.mean())
            if n > 1 and np.isfinite(of_example).all():
                scores[f"_se/{name}/{key}"] = float(of_example.std(ddof=1) / n**0.5)
        if examples.probabilistic is not None:
            scores |= _calibration(examples, is_member, name)
    return scores


def _calibration(examples: Examples, is_member: np.ndarray, name: str) -> dict[str, float]:
    """ECE, its standard error, and what a calibrated net may show on so many images."""
    soft = examples.soft is not None
    ranked = rank(examples.certainty[is_member], examples.top1[is_member], soft=soft)
    n, alone, rng = len(ranked.correct), is_alone(ranked), np.random.default_rng(SEED)
    resampled = []
    for _ in range(RESAMPLES if n > 1 else 0):
        drawn = np.sort(rng.integers(n, size=n))
        columns = ranked.certainty[drawn], ranked.outcome[drawn]
        resampled.append(float(ece(level(*columns, soft=soft, alone=alone[drawn]))))
    scores = {
        f"/{name}/ece": float(ece(ranked)),
        f"_null/{name}/ece_high": null_band(ranked).ece_high,
    }
    if resampled:
        scores[f"_se/{name}/ece"] = float(np.std(resampled, ddof=1))
    return scores


def worst(top1: np.ndarray, ids: Ids) -> Worst | None:
    """The worst group; None unless two groups have LEAST images."""
    groups = np.flatnonzero(np.bincount(ids) >= LEAST)
    if len(groups) < 2:
        return None
    is_in = np.isin(ids, groups)
    order = ids[is_in].argsort(kind="stable")
    values, sizes = top1[is_in][order], np.bincount(ids)[groups]
    first = np.cumsum(sizes) - sizes
    means = np.add.reduceat(values, first) / sizes
    rng = np.random.default_rng(SEED)
    least = [(np.add.reduceat(rng.permutation(values), first) / sizes).min() for _ in range(DRAWS)]
    place = int(means.argmin())
    return Worst(int(groups[place]), float(means[place]), float(np.mean(least)), len(groups))
