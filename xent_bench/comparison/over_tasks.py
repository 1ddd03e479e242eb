"""Losses over several tasks: mean ranks, tests of them, and a Bayesian estimate.

The unit is the data set. A loss has one value on a task, the mean of the primary metric over its
seeds; on a data set with several nets it has the mean over these tasks, since their results depend
on the same images. Losses are judged in two families, each corrected by Holm's method: against the
baseline, and all pairs. Nothing is judged unless Friedman's test rejects, as Demsar (2006) advises,
so a set of equal losses leads to a false statement in at most 5 of 100 reports.
"""

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from xent_bench.comparison.contrasts import OPEN
from xent_bench.comparison.rank_tests import (
    Friedman,
    average_ranks,
    friedman,
    signed_rank_p,
    smallest_p,
    tasks_needed,
)
from xent_bench.comparison.sequential import BETTER, WORSE
from xent_bench.comparison.signed_rank_posterior import (
    Posterior,
    influence_of_prior,
    posterior,
)
from xent_bench.comparison.stats import LEVEL, holm
from xent_bench.comparison.tasks import Selection, Task
from xent_bench.comparison.tuning import DIGITS


class Against(NamedTuple):
    """A loss against the baseline over data sets, each of which counts once."""

    difference: float  # median over data sets, loss minus baseline, in the metric's own unit
    p: float | None  # of Wilcoxon's signed-rank test, corrected over the losses (Holm)
    verdict: str  # better, worse or inconclusive
    improvements: tuple[float, ...]  # on each data set; positive where the loss is better
    margin: float  # the largest difference of a tie

    @property
    def posterior(self) -> Posterior:
        """Probabilities that the loss is practically better, equal or worse."""
        return posterior(self.improvements, self.margin)

    @property
    def influence(self) -> float:
        """Largest change of a probability if the prior is put elsewhere."""
        return influence_of_prior(self.improvements, self.margin)


class OverTasks(NamedTuple):
    """The outcome for the losses of a selection of tasks."""

    selection: Selection
    mean_ranks: dict[str, float]  # over data sets, 1 is the best; in ascending order
    friedman: Friedman
    against: dict[str, Against]  # every loss but the baseline; empty without a baseline
    groups: list[list[str]]  # losses of which no pair is shown to differ, by rank
    data_sets: int

    @property
    def losses(self) -> list[str]:
        """Labels in the order of their mean ranks."""
        return list(self.mean_ranks)

    def ranks_on(self, task: Task) -> dict[str, float]:
        """Rank of each loss on one task, in the order of mean ranks."""
        values = np.array([[task.value(label) for label in self.losses]]).round(DIGITS)
        ranks = average_ranks(values, self.selection.by.better)[0]
        return dict(zip(self.losses, ranks.tolist(), strict=True))

    def not_shown_to_differ(self, label: str) -> list[str]:
        """The losses that are in a group with this one."""
        groups = [group for group in self.groups if label in group]
        return [
            other
            for other in self.losses
            if other != label and any(other in group for group in groups)
        ]

    @property
    def tests(self) -> int:
        """Number of tests that are corrected together: against the baseline, or all pairs."""
        k = len(self.losses)
        return k - 1 if self.selection.baseline else k * (k - 1) // 2

    @property
    def needed(self) -> int:
        """Number of data sets with which one of these tests could be significant at all."""
        return tasks_needed(self.tests)

    @property
    def smallest_p(self) -> float:
        """Corrected p of a loss that is better than another on every data set."""
        return smallest_p(self.data_sets, self.tests)

    @property
    def says_nothing(self) -> bool:
        """Whether the data sets are too few for any verdict on two losses."""
        return self.data_sets < self.needed

    @property
    def rejects(self) -> bool:
        """Whether Friedman's test shows that ranks differ by more than chance."""
        return self.friedman.p < LEVEL


def over_tasks(selection: Selection) -> OverTasks:
    """Rank and test the losses of a selection; it must have no `lack`."""
    losses, by = selection.losses, selection.by
    values = _values(selection)
    ranks = average_ranks(values, by.better)
    means = dict(zip(losses, ranks.mean(axis=0).tolist(), strict=True))
    test = friedman(ranks)
    ordered = {label: means[label] for label in sorted(losses, key=lambda one: (means[one], one))}
    columns = {label: values[:, place] for place, label in enumerate(losses)}
    return OverTasks(
        selection,
        ordered,
        test,
        _against(selection, columns, judged=test.p < LEVEL),
        _groups(list(ordered), columns, judged=test.p < LEVEL),
        len(values),
    )


def _values(selection: Selection) -> np.ndarray:
    """The primary metric of each loss on each data set, of shape (data sets, losses)."""
    data_sets: dict[int, list[list[float]]] = {}
    for task in selection.tasks:
        values = [task.value(label) for label in selection.losses]
        data_sets.setdefault(task.data_set, []).append(values)
    means = [[fmean(column) for column in zip(*rows, strict=True)] for rows in data_sets.values()]
    return np.array(means).round(DIGITS)


def _deltas(values: np.ndarray, others: np.ndarray) -> list[float]:
    """Differences, 0 where both values are equal, also if they are infinite.

    They are rounded, so that two differences of one image in a hundred are a tie.
    """
    return [
        0.0 if one == other else round(one - other, DIGITS)
        for one, other in zip(values.tolist(), others.tolist(), strict=True)
    ]


def _against(
    selection: Selection, columns: dict[str, np.ndarray], *, judged: bool
) -> dict[str, Against]:
    baseline, by = selection.baseline, selection.by
    if baseline is None:
        return {}
    deltas = {
        label: _deltas(values, columns[baseline])
        for label, values in columns.items()
        if label != baseline
    }
    ps = holm([signed_rank_p(of_loss) for of_loss in deltas.values()])
    outcomes = {}
    for (label, of_loss), p in zip(deltas.items(), ps, strict=True):
        improvements = [by.better * delta for delta in of_loss]
        outcomes[label] = Against(
            median(of_loss),
            p,
            _verdict(improvements, p) if judged else OPEN,
            tuple(improvements),
            by.tie,
        )
    return outcomes


def _verdict(improvements: Sequence[float], p: float | None) -> str:
    if p is None or p >= LEVEL:
        return OPEN
    signs = average_ranks(np.abs(improvements)[None, :], -1)[0] * np.sign(improvements)
    return BETTER if signs.sum() > 0 else WORSE


def _groups(
    losses: Sequence[str], columns: dict[str, np.ndarray], *, judged: bool
) -> list[list[str]]:
    """Groups of losses, ordered by rank, of which no pair is shown to differ.

    Every such pair is in one of the groups, and no group lies within another one.
    """
    pairs = list(combinations(losses, 2))
    ps = holm([signed_rank_p(_deltas(columns[one], columns[other])) for one, other in pairs])
    alike = {
        frozenset(pair)
        for pair, p in zip(pairs, ps, strict=True)
        if not judged or p is None or p >= LEVEL
    }
    groups: list[list[str]] = []
    for pair in pairs:
        if frozenset(pair) in alike and not any(set(pair) <= set(group) for group in groups):
            group = list(pair)
            for label in losses:
                if all(frozenset((label, member)) in alike for member in group):
                    group.append(label)
            groups.append(sorted(group, key=losses.index))
    return groups
