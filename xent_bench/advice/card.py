"""The decision card: what the runs at hand recommend for a user's needs, and what is open."""

from collections.abc import Sequence
from typing import NamedTuple

from xent_bench.advice.calibrators import Calibration, calibration
from xent_bench.advice.needs import Needs
from xent_bench.advice.next_steps import next_sweeps
from xent_bench.advice.offer import Experiment, Offer, candidates, experiment_for
from xent_bench.advice.pick import Pick, Verdict, pick, verdicts
from xent_bench.advice.shift_means import with_shift_means
from xent_bench.advice.sweeps import Sweep
from xent_bench.advice.tasks import Task, conditions_of, deciding, gaps, tasks_of
from xent_bench.comparison.compare import Comparison, Options, compare
from xent_bench.comparison.yardsticks import YARDSTICKS, Yardstick
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run


class Card(NamedTuple):
    """The recommendation with its evidence; `pick` is None where nothing can be recommended."""

    needs: Needs
    by: Yardstick  # the metric that decides
    pick: Pick | None
    calibration: Calibration | None
    deciding: list[Task]  # the nearest tasks that match the needs
    farther: list[Task]  # others that match: shown, but they decide nothing
    unusable: list[Task]  # others that match and cannot decide
    others: list[Task]  # under other conditions, the nearest first
    verdicts: list[list[Verdict]]  # of each task in `deciding`, then of each in `farther`
    without_metric: list[str]  # losses of the tasks that decide which lack the metric
    worth_a_try: list[str]  # losses that suit the needs and that no deciding task has
    never_tried: list[str]  # all further losses of conf/loss that no deciding task has
    sweeps: list[Sweep]
    experiment: Experiment | None
    unfinished: int  # runs that have begun and have no result


def advise(
    runs: Sequence[Run], unfinished: Sequence[Unfinished], needs: Needs, offer: Offer
) -> Card:
    """Weigh the runs for these needs.

    Which runs decide depends on their settings alone, never on their scores.
    """
    if needs.shift:
        runs = with_shift_means(runs)
    by = needs.yardstick(_keys(runs, needs))
    tasks = tasks_of(_compared(runs, unfinished, needs, by), needs, by)
    nearest = deciding(tasks)
    matched = [task for task in tasks if not task.gaps]
    usable = [task for task in matched if not task.unusable]
    farther = [task for task in usable if task not in nearest]
    picked = pick(nearest, needs.baseline, by)
    tried = {row.label for task in nearest for row in task.comparison.rows if row.n}
    worth = [loss for loss in candidates(needs) if loss not in tried and loss in offer.losses]
    return Card(
        needs,
        by,
        picked,
        calibration(picked.loss, nearest, needs, by) if picked else None,
        nearest,
        farther,
        [task for task in matched if task.unusable],
        [task for task in tasks if task.gaps],
        [verdicts(task, len(nearest)) for task in nearest] + [verdicts(t, 1) for t in farther],
        list(dict.fromkeys(label for task in nearest for label in task.lacking(by.key))),
        worth,
        [loss for loss in offer.losses if loss not in tried and loss not in worth],
        next_sweeps(tasks, nearest, picked, worth, needs, by),
        experiment_for(needs, offer) if not nearest or any(nearest[0].farness) else None,
        len(unfinished),
    )


def _keys(runs: Sequence[Run], needs: Needs) -> set[str]:
    """The metrics of the runs whose conditions match the needs."""
    matched = [run for run in runs if not gaps(conditions_of([run]), needs)]
    return {key for run in matched for key in run.metrics}


def _compared(
    runs: Sequence[Run], unfinished: Sequence[Unfinished], needs: Needs, by: Yardstick
) -> list[Comparison]:
    """Compare the runs as xent-report does, by the metric that stands for the needs."""
    if not runs:
        return []
    yardsticks = YARDSTICKS if by in YARDSTICKS else (*YARDSTICKS, by)
    has_baseline = any(run.params["loss"] == needs.baseline for run in runs)
    options = Options(
        baseline=needs.baseline if has_baseline else None,
        yardsticks=yardsticks,
        primary=by.key,
        is_primary_asked=True,
    )
    return compare(runs, unfinished, options)
