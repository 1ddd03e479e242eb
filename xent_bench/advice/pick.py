"""The loss that the evidence supports: the baseline, unless another loss is shown to be better.

In each task the report's own p values are used, which are corrected over the losses (Holm). Where
several tasks are equally near, they are multiplied by the number of tasks (Bonferroni). So if no
loss differs from the baseline, at most 5 in 100 cards name another loss as better.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from xent_bench.advice.tasks import Task
from xent_bench.comparison.contrasts import OPEN, UNJUDGED, Contrast, Leaders
from xent_bench.comparison.sequential import BETTER, SAME, TIE, WORSE
from xent_bench.comparison.stats import LEVEL
from xent_bench.comparison.yardsticks import Yardstick


class Verdict(NamedTuple):
    """The comparison of a loss with the baseline in one task, corrected over the tasks."""

    label: str
    contrast: Contrast
    p: float | None
    p_tie: float | None
    word: str  # better, worse, tie, same, inconclusive, or not judged


class Pick(NamedTuple):
    """The recommended loss, and the losses that may take its place."""

    loss: str
    displaces: bool  # whether it is shown to be better than the baseline
    alike: list[str]  # other losses shown to be better, and not shown to be worse than this one
    mixed: list[str]  # losses that are better on one task and worse on another
    reason: str = ""  # why this one and not one of those alike: 'has the fewest ...'


def verdicts(task: Task, times: int) -> list[Verdict]:
    """Judge every loss of a task against the baseline, where so many comparisons are judged."""
    return [_verdict(contrast, times) for contrast in task.contrasts]


def _verdict(contrast: Contrast, times: int) -> Verdict:
    p, p_tie = (
        None if value is None else min(1.0, times * value) for value in (contrast.p, contrast.p_tie)
    )
    return Verdict(contrast.label, contrast, p, p_tie, _word(contrast, p, p_tie))


def _word(contrast: Contrast, p: float | None, p_tie: float | None) -> str:
    if contrast.same or contrast.verdict == UNJUDGED:
        return SAME if contrast.same else UNJUDGED
    if p_tie is not None and p_tie < LEVEL:
        return TIE
    if p is not None and p < LEVEL:
        by = contrast.yardstick
        return BETTER if by.better * contrast.difference.mean > 0 else WORSE
    return OPEN


def pick(tasks: Sequence[Task], baseline: str, by: Yardstick, times: int) -> Pick | None:
    """Choose the loss that the nearest tasks support; None without a task.

    `times` is the number of comparisons that are judged together: of tasks, and of readings.

    A loss displaces the baseline if it is shown to be better on a task and worse on none. Of such
    losses those remain that no other is shown to beat, and of these the simplest is recommended.
    """
    if not tasks:
        return None
    words: dict[str, set[str]] = {}
    for task in tasks:
        for verdict in verdicts(task, times):
            words.setdefault(verdict.label, set()).add(verdict.word)
    better = [label for label, seen in words.items() if BETTER in seen and WORSE not in seen]
    mixed = [label for label, seen in words.items() if {BETTER, WORSE} <= seen]
    if not better:
        return Pick(baseline, False, [], mixed)
    unbeaten = _unbeaten(better, tasks, by)
    ranks = {label: simplicity(label, tasks) for label in unbeaten}
    first, *others = sorted(unbeaten, key=lambda label: (ranks[label], label))
    return Pick(first, True, others, mixed, _reason(ranks, first, others))


def _unbeaten(labels: Sequence[str], tasks: Sequence[Task], by: Yardstick) -> list[str]:
    """Leave out the losses that are shown to be worse than the best one.

    Only where one task decides: the marks of the best are corrected within a comparison.
    """
    if len(tasks) > 1:
        return list(labels)
    best: Leaders = tasks[0].comparison.leaders.get(by.key, Leaders())
    if best.best not in labels:
        return list(labels)
    return [label for label in labels if label == best.best or label in best.tied]


class Simplicity(NamedTuple):
    """Costs of a loss, by which one is taken among those between which nothing is shown."""

    hyper_parameters: int  # of its own
    seconds: float  # mean duration of a run


def simplicity(label: str, tasks: Sequence[Task]) -> Simplicity:
    """Find a loss's costs in the runs of some tasks."""
    rows = [row for task in tasks for row in task.comparison.rows if row.label == label and row.n]
    params = rows[0].runs[0].params if rows else {}
    seconds = [row.seconds for row in rows if row.seconds is not None]
    number = sum(key.startswith("loss.") for key in params)
    return Simplicity(number, fmean(seconds) if seconds else 0.0)


def _reason(ranks: Mapping[str, Simplicity], first: str, others: Sequence[str]) -> str:
    """The respect in which a loss comes before the others; empty if there are none."""
    if not others:
        return ""
    second = ranks[others[0]]
    if ranks[first].hyper_parameters < second.hyper_parameters:
        return "has the fewest hyper-parameters"
    if ranks[first].seconds < second.seconds:
        return "takes the least time of those with the fewest hyper-parameters"
    return "comes first by name of those that are equal in hyper-parameters and time"
