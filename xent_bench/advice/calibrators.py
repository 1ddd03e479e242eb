"""The calibrator that the evidence supports for a loss: none, unless one is shown to help.

Every two readings of the same runs (as trained, after temperature scaling, ...) are compared run by
run. The p values are corrected over all pairs of readings and all tasks (Holm): if no calibrator
changes the metric, at most 5 in 100 cards name one as better.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, product
from typing import NamedTuple

from xent_bench.advice.needs import BY_ANSWER, Needs
from xent_bench.advice.tasks import Task
from xent_bench.comparison.contrasts import OPEN, Field
from xent_bench.comparison.row import Row
from xent_bench.comparison.sequential import BETTER, TIE, WORSE
from xent_bench.comparison.stats import LEVEL, Difference, holm
from xent_bench.comparison.yardsticks import Yardstick
from xent_bench.metrics.reported import PREFIXES, TITLES
from xent_bench.metrics.shifts import SHIFT, SHIFT_TS
from xent_bench.runs.result import Run

SCALED = PREFIXES["temperature"]
# prefixes of keys, the simplest reading first: nothing is fitted, one number, two, two a class, ...
ORDER = (
    *("test", SCALED, PREFIXES["prior_correction"]),
    *(PREFIXES["vector_scaling"], PREFIXES["structured_vector"], PREFIXES["isotonic"]),
    *(PREFIXES["structured_matrix"], PREFIXES["dirichlet"]),
)
UNDER_SHIFT = {f"{SHIFT}/mean": "as trained", f"{SHIFT_TS}/mean": "temperature scaling"}


class Step(NamedTuple):
    """The change from one reading of a loss's runs to another, in one task."""

    task: int  # place among the tasks that decide
    before: str  # prefix of a key
    after: str
    difference: Difference  # after minus before, run by run
    p: float | None  # corrected
    word: str  # better, worse, tie or inconclusive


class Calibration(NamedTuple):
    """The recommended reading of a loss, and its evidence."""

    prefix: str  # of the reading: test is none
    is_needed: bool  # whether the loss has no such scores as trained
    is_shown: bool  # whether it is shown to be better than a simpler reading
    steps: list[Step]

    def harm(self, before: str, after: str) -> Step | None:
        """The change between the readings of two keys, if it is shown to be for the worse.

        None if a task shows the opposite.
        """
        change = _prefix(before), _prefix(after)
        steps = [step for step in self.steps if (step.before, step.after) == change]
        worse = [step for step in steps if step.word == WORSE]
        is_mixed = any(step.word == BETTER for step in steps)
        return worse[0] if worse and not is_mixed else None


def title_of(prefix: str) -> str:
    """The name of a reading: 'as trained', 'temperature scaling'."""
    return (TITLES | UNDER_SHIFT).get(prefix, prefix)


def calibration(loss: str, tasks: Sequence[Task], needs: Needs, by: Yardstick) -> Calibration:
    """Choose the reading of a loss; `tasks` are those that decide and need not all have the loss.

    The simplest reading is kept until another is shown to be better on a task and worse on none.
    """
    rows = {
        place: row
        for place, task in enumerate(tasks)
        for row in task.comparison.rows
        if row.label == loss and row.n
    }
    metric = needs.aim.metric
    readings = [prefix for prefix in _offered(needs) if _has(rows.values(), f"{prefix}/{metric}")]
    if not readings:
        return Calibration(by.key.rpartition("/")[0], False, False, [])
    fields = {place: tasks[place].comparison.field for place in rows}
    steps = _steps(fields, loss, [f"{prefix}/{metric}" for prefix in readings], by)
    current = readings[0]
    for later in readings[1:]:
        words = {step.word for step in steps if (step.before, step.after) == (current, later)}
        if BETTER in words and WORSE not in words:
            current = later
    return Calibration(current, readings[0] != _offered(needs)[0], current != readings[0], steps)


def _offered(needs: Needs) -> tuple[str, ...]:
    if needs.shift:
        prefixes = tuple(UNDER_SHIFT)
        return prefixes if needs.has_calibration_data else prefixes[:1]
    if not needs.has_calibration_data:
        return ORDER[:1]
    is_of_answers = needs.aim.metric in BY_ANSWER
    return tuple(prefix for prefix in ORDER if not (is_of_answers and prefix == SCALED))


def _has(rows: Iterable[Row], key: str) -> bool:
    return all(key in run.metrics for row in rows for run in row.runs)


def _steps(
    fields: Mapping[int, Field], loss: str, keys: Sequence[str], by: Yardstick
) -> list[Step]:
    pairs = list(product(fields, combinations(keys, 2)))
    differences = [
        _difference(fields[place], fields[place].runs[loss], change, by) for place, change in pairs
    ]
    ps = holm([delta.p for delta in differences])
    ties = holm([delta.p_tie for delta in differences])
    return [
        Step(place, _prefix(before), _prefix(after), delta, p, _word(delta, p, p_tie, by))
        for (place, (before, after)), delta, p, p_tie in zip(
            pairs, differences, ps, ties, strict=True
        )
    ]


def _prefix(key: str) -> str:
    return key.rpartition("/")[0]


def _difference(
    field: Field, runs: Sequence[Run], change: tuple[str, str], by: Yardstick
) -> Difference:
    """The change of a loss's scores from one key to another, with the errors of its comparison."""
    before, after = change
    readings = [
        tuple(replace(run, metrics={by.key: run.metrics[key]}) for key in (after, before))
        for run in runs
    ]
    return field.difference([(later, earlier) for later, earlier in readings], by)


def _word(delta: Difference, p: float | None, p_tie: float | None, by: Yardstick) -> str:
    if delta.mean == 0 and delta.spread in (0, None):
        return TIE  # the same in every run, as top-1 before and after temperature scaling
    if p_tie is not None and p_tie < LEVEL:
        return TIE
    if p is not None and p < LEVEL:
        return BETTER if by.better * delta.mean > 0 else WORSE
    return OPEN
