"""The tasks on which losses can be ranked: comparisons that have the same losses.

A task is a data set and a net. Comparisons of one data set and net that differ in anything else
(noise, epochs, an augmentation) are variants of one task, of which one is used. Tasks of one data
set are not independent, so tests count a data set once: see `over_tasks`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from xent_bench.comparison.across import NO_CONDITION, parts_of
from xent_bench.comparison.compare import BASELINE, Comparison
from xent_bench.comparison.contrasts import all_same_weights, paired
from xent_bench.comparison.row import Row
from xent_bench.comparison.yardsticks import PRIMARY, Yardstick, by_key

FEWEST_LOSSES, FEWEST_TASKS = 3, 2
# parameters that say which images a set of this name holds; others prepare or corrupt them
SOURCES = ("data.root", "data.train", "data.config", "data.features")
# parameters that prepare images, so that comparisons which differ in them are variants of a task
PREPARED = {
    f"data.{key}"
    for key in (
        *("size", "shorter_side", "interpolation", "crop", "flip"),
        *("mean", "std", "normalise", "download", *(key.partition(".")[2] for key in SOURCES)),
    )
}


class Task(NamedTuple):
    """A comparison on a data set with a net, of which no other comparison is used."""

    comparison: Comparison
    data_set: int  # tasks with the same number have the same images
    title: str  # unlike that of any other task
    key: str  # of the metric by which losses are ranked

    @property
    def rows(self) -> dict[str, Row]:
        """Rows with the metric, by the loss's label."""
        rows = self.comparison.rows
        return {row.label: row for row in rows if row.n and self.key in row.estimates}

    def value(self, label: str) -> float:
        """Mean of the metric over a loss's seeds."""
        return self.rows[label].estimates[self.key].mean


class Selection(NamedTuple):
    """The tasks that have the same losses, these losses, and what was left out."""

    by: Yardstick  # the metric by which losses are ranked: the primary one
    tasks: list[Task]
    losses: list[str]
    baseline: str | None  # None if it is not among the losses
    remarks: list[str]  # on each task, loss and variant that is left out, and why

    @property
    def lack(self) -> str:
        """The reason why losses cannot be ranked over these tasks; empty if they can."""
        if len(self.tasks) >= FEWEST_TASKS and len(self.losses) >= FEWEST_LOSSES:
            return ""
        return (
            f"expected at least {FEWEST_TASKS} tasks (data sets with a net) that share "
            f"{FEWEST_LOSSES} losses, got {len(self.tasks)} that "
            f"{'shares' if len(self.tasks) == 1 else 'share'} {len(self.losses)}"
        )


def select_tasks(comparisons: Sequence[Comparison]) -> Selection:
    """Choose the comparisons that are tasks, one for each data set and net, and their losses.

    The losses are those that more than half of the tasks have, and the baseline if it is one of
    them; the tasks are those that have all of these losses.
    """
    options = [comparison.options for comparison in comparisons]
    primaries = {of_one.primary for of_one in options}
    baselines = {of_one.baseline or BASELINE for of_one in options}
    # sweeps may declare other ones; then those of a report without a design hold
    primary = primaries.pop() if len(primaries) == 1 else PRIMARY
    baseline = baselines.pop() if len(baselines) == 1 else BASELINE
    usable, remarks = _usable(comparisons)
    tasks, of_variants = _without_variants(usable, primary)
    losses = _common_losses([task.rows for task in tasks], baseline)
    twins = _twins(tasks, losses)
    kept = [label for label in losses if label not in twins]
    complete = [task for task in tasks if task.rows.keys() >= set(kept)]
    remarks += [*of_variants, *_conditions(complete), *_lacking(tasks, losses), *twins.values()]
    by = by_key(options[0].yardsticks)[primary]
    return Selection(by, complete, kept, baseline if baseline in kept else None, remarks)


def _usable(comparisons: Sequence[Comparison]) -> tuple[list[Comparison], list[str]]:
    """Comparisons with results that can be ranked, and remarks on the others."""
    remarks = [
        f"Left out: {_full_title(comparison)}, {lack}."
        for comparison in comparisons
        if (lack := _lack(comparison))
    ]
    return [comparison for comparison in comparisons if not _lack(comparison)], remarks


def _lack(comparison: Comparison) -> str:
    if not comparison.runs:
        return "where no run has finished"
    return "where losses are not ranked, since they were not tuned alike" * bool(
        comparison.unranked
    )


def _full_title(comparison: Comparison) -> str:
    return f"{comparison.experiment}: {comparison.setting}"


def _without_variants(
    comparisons: Sequence[Comparison], primary: str
) -> tuple[list[Task], list[str]]:
    """One task for each data set and net, and remarks on the variants that are not used.

    The variant with the fewest conditions, such as noise, is used; then that of most losses, then
    that of most runs.
    """
    groups: dict[tuple[int, tuple[str, ...]], list[Comparison]] = {}
    for comparison, data_set in zip(comparisons, _data_sets(comparisons), strict=True):
        groups.setdefault((data_set, _parts(comparison)), []).append(comparison)
    chosen = {key: min(group, key=_order_of_variants) for key, group in groups.items()}
    settings = Counter(comparison.setting for comparison in chosen.values())
    tasks = [
        Task(
            comparison,
            data_set,
            comparison.setting if settings[comparison.setting] == 1 else _full_title(comparison),
            primary,
        )
        for (data_set, _), comparison in chosen.items()
    ]
    remarks = [
        _remark_on_variants(group, chosen[key]) for key, group in groups.items() if len(group) > 1
    ]
    return tasks, remarks


def _remark_on_variants(group: Sequence[Comparison], used: Comparison) -> str:
    others = "; ".join(_full_title(other) for other in group if other is not used)
    return (
        f"Of {len(group)} comparisons with one data set and net, {_full_title(used)} is used; not "
        f"used: {others}."
    )


def _data_sets(comparisons: Sequence[Comparison]) -> list[int]:
    """The number of each comparison's data set.

    Two comparisons have the same data set if the images have the same hash, or if the data's name
    and source are the same: other parameters, such as the size of images or the noise of
    data=synthetic, make other images of the same ones, and no independent task.
    """
    numbers: dict[object, int] = {}
    result: list[int] = []
    for comparison in comparisons:
        run = comparison.runs[0]
        source = tuple(str(run.params.get(key)) for key in SOURCES)
        names = [(run.params["data"], source), run.tags.get("data_sha256")]
        same = [numbers[name] for name in names if name in numbers]
        number = min(same, default=len(numbers))
        for name in names:
            if name is not None:
                numbers[name] = number
        # one that has both names of two earlier data sets shows that these are the same
        result = [number if other in same else other for other in result]
        numbers = {name: number if other in same else other for name, other in numbers.items()}
        result.append(number)
    return result


def _parts(comparison: Comparison) -> tuple[str, ...]:
    """The parameters of net and data, by which tasks differ that are not variants of one."""
    params = comparison.runs[0].params
    return tuple(
        f"{key}={params[key]}"
        for key in sorted(params)
        if key.partition(".")[0] in ("model", "data") and key not in PREPARED
    )


def _order_of_variants(comparison: Comparison) -> tuple[int, int, int]:
    losses = sum(row.n > 0 for row in comparison.rows)
    return len(_conditions_in_words(comparison)), -losses, -len(comparison.runs)


def _conditions_in_words(comparison: Comparison) -> list[str]:
    return [part for part in parts_of(comparison.runs[0].params) if part != NO_CONDITION]


def _conditions(tasks: Sequence[Task]) -> list[str]:
    """A remark on the tasks that are used under a condition."""
    under = [
        f"{task.title} ({', '.join(words)})"
        for task in tasks
        if (words := _conditions_in_words(task.comparison))
    ]
    return [f"Used under a condition of the data: {'; '.join(under)}."] * bool(under)


def _common_losses(rows: Sequence[Mapping[str, Row]], baseline: str) -> list[str]:
    """Losses that more than half of the tasks have, without the rarest if too few have all."""
    counts = Counter(label for of_task in rows for label in of_task)
    order = sorted(counts, key=lambda label: (label != baseline, -counts[label], label))
    losses = [label for label in order if 2 * counts[label] > len(rows)]
    while (
        len(rows) >= FEWEST_TASKS
        and len(losses) > FEWEST_LOSSES
        and sum(of_task.keys() >= set(losses) for of_task in rows) < FEWEST_TASKS
    ):
        losses.pop()
    return losses


def _twins(tasks: Sequence[Task], losses: Sequence[str]) -> dict[str, str]:
    """Losses that ended with the weights of one before them on every task; a remark on each."""
    remarks: dict[str, str] = {}
    for other, label in combinations(losses, 2):
        if label not in remarks and other not in remarks and _are_same(tasks, label, other):
            remarks[label] = f"Left out: {label}, which ended with the weights of {other}."
    return remarks


def _are_same(tasks: Sequence[Task], label: str, other: str) -> bool:
    """Whether two losses ended with the same weights with every seed of every task."""
    pairs = [
        pair
        for task in tasks
        if {label, other} <= task.rows.keys()
        for pair in paired(task.rows[label].runs, task.rows[other].runs, "test/top1")
    ]
    return all_same_weights(pairs)


def _lacking(tasks: Sequence[Task], losses: Sequence[str]) -> list[str]:
    """Remarks on the tasks that lack a loss, and on the losses that most tasks lack."""
    remarks = []
    for task in tasks:
        lacking = [_with_reason(task, label) for label in losses if label not in task.rows]
        if lacking:
            remarks.append(f"Left out: {task.title}, without a result of {', '.join(lacking)}.")
    every = dict.fromkeys(label for task in tasks for label in task.rows)
    rare = [label for label in every if label not in losses]
    if rare:
        remarks.append(f"Left out, since too few of the tasks have them: {', '.join(rare)}.")
    return remarks


def _with_reason(task: Task, label: str) -> str:
    """The loss, and whether it diverged: where it failed, its ranks elsewhere flatter it."""
    trials = [trial for trial in task.comparison.trials if trial.loss == label]
    return label + " (diverged)" * any(trial.has_diverged for trial in trials)
