"""The runs at hand, weighed for a user's needs by one metric: which tasks decide, and for what."""

from collections.abc import Sequence
from typing import NamedTuple

from xent_bench.advice.needs import Needs
from xent_bench.advice.pick import Pick, Verdict, pick, verdicts
from xent_bench.advice.tasks import Task, deciding, tasks_of
from xent_bench.comparison.compare import Comparison, Options, compare
from xent_bench.comparison.yardsticks import YARDSTICKS, Yardstick
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run


class Weighing(NamedTuple):
    """All tasks, those that decide by a metric, and the loss that they support."""

    by: Yardstick
    tasks: list[Task]  # the nearest first
    nearest: list[Task]  # those that decide
    times: int  # factor of p: comparisons that are judged together
    picked: Pick | None

    def verdicts(self, task: Task) -> list[Verdict]:
        """Judge the losses of a task; of one that does not decide, by itself."""
        return verdicts(task, self.times if task in self.nearest else 1)


def weigh(
    runs: Sequence[Run],
    unfinished: Sequence[Unfinished],
    needs: Needs,
    by: Yardstick,
    readings: int = 1,
) -> Weighing:
    """Weigh the runs by a metric, which is the last of so many readings that were looked at."""
    tasks = tasks_of(_compared(runs, unfinished, needs, by), needs, by)
    nearest = deciding(tasks)
    times = readings * max(1, len(nearest))
    return Weighing(by, tasks, nearest, times, pick(nearest, needs.baseline, by, times))


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
