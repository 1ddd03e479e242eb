"""Tables and sentences on losses over several tasks."""

import math
from collections.abc import Sequence
from textwrap import wrap
from typing import NamedTuple

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import OPEN
from xent_bench.comparison.over_tasks import Against, OverTasks, over_tasks
from xent_bench.comparison.sequential import BETTER, WORSE
from xent_bench.comparison.tasks import Task, select_tasks
from xent_bench.tables import Table

NARROW = 16  # letters of a heading's line
MOVED = 0.1  # change of a probability above which the prior is said to decide
TIED = "="
MOST_GROUPS = 6  # that a sentence lists


class TaskParts(NamedTuple):
    """The part of a report on several tasks; without tables, why losses are not ranked."""

    over: OverTasks | None
    tables: list[Table]
    remarks: list[str]
    conclusion: str


def task_parts(comparisons: Sequence[Comparison]) -> TaskParts:
    """Rank the losses over the tasks of these comparisons, and put it into tables and words."""
    selection = select_tasks(comparisons)
    if selection.lack:
        lack = f"Losses are not ranked over tasks: {selection.lack}."
        return TaskParts(None, [], selection.remarks, lack)
    over = over_tasks(selection)
    return TaskParts(over, task_tables(over), selection.remarks, tasks_conclusion(over))


def task_tables(over: OverTasks) -> list[Table]:
    """The table of losses over all tasks, and that of their means and ranks on each task."""
    return [_over_all(over), _by_task(over)]


def over_title(over: OverTasks) -> str:
    """Heading of what is over all tasks: 'Over 6 tasks: NLL after temperature scaling'."""
    return f"Over {_count(over)}: {over.selection.by.name}"


def _count(over: OverTasks) -> str:
    """The number of tasks, and of data sets where these are fewer: '6 tasks on 3 data sets'."""
    tasks = len(over.selection.tasks)
    if over.data_sets == tasks:
        return f"{tasks} tasks"
    return f"{tasks} tasks on {over.data_sets} data set{'s' * (over.data_sets > 1)}"


def _units(over: OverTasks, number: int) -> str:
    """'n tasks', or 'n data sets' where a data set has several tasks."""
    one = "task" if over.data_sets == len(over.selection.tasks) else "data set"
    return f"{number} {one}{'s' * (number != 1)}"


def _over_all(over: OverTasks) -> Table:
    by, baseline = over.selection.by, over.selection.baseline
    title = over_title(over)
    unit = _units(over, over.data_sets)
    notes = [f"Mean rank over {unit}: 1 is the best, equal values share a rank."]
    if baseline is None:
        rows = [[label, f"{rank:.2f}"] for label, rank in over.mean_ranks.items()]
        return Table(title, ["loss", "mean\nrank"], rows, notes)
    headings = [
        *("loss", "mean\nrank", f"median minus\n{baseline}", "p\n(Holm)"),
        *("P\nbetter", "P\ntie", "P\nworse", "each task\nb/t/w", "over tasks"),
    ]
    rows = [[label, f"{rank:.2f}", *_cells(over, label)] for label, rank in over.mean_ranks.items()]
    brief = [
        f"Mean rank over {unit}. p: Wilcoxon's signed-rank test over them. P: posterior "
        f"probability; a tie is within {by.margin()}. b/t/w: better, tied, worse by the task's own "
        "table."
    ]
    notes.append(
        f"p: Wilcoxon's signed-rank test over {unit}, two-sided and exact, corrected over the "
        f"losses. P: posterior probability that the loss is better than {baseline} by more than "
        f"{by.margin()} of {by.name}, within that, or worse (Bayesian signed-rank test). b/t/w: on "
        f"how many tasks the task's own table shows it as better, tied or worse."
    )
    return Table(title, headings, rows, notes, brief=brief)


def _cells(over: OverTasks, label: str) -> list[str]:
    """The cells of a loss against the baseline; '-' for the baseline itself."""
    if label not in over.against:
        return ["-"] * 7
    against = over.against[label]
    shares = [f"{share:.2f}" for share in against.posterior]
    verdicts = [_verdict_on(over, task, label) for task in over.selection.tasks]
    counts = [
        sum(verdict.startswith(word) for verdict in verdicts) for word in (BETTER, "tie", WORSE)
    ]
    return [
        over.selection.by.shown(against.difference, "+"),
        "-" if against.p is None else f"{against.p:.2g}",
        *shares,
        "/".join(map(str, counts)),
        against.verdict,
    ]


def _verdict_on(over: OverTasks, task: Task, label: str) -> str:
    """The verdict on a loss in the task's own table, by the primary metric; '' without one."""
    return next(
        (
            contrast.verdict
            for contrast in task.comparison.contrasts
            if (contrast.label, contrast.yardstick.key) == (label, over.selection.by.key)
        ),
        "",
    )


def _by_task(over: OverTasks) -> Table:
    by, tasks, losses = over.selection.by, over.selection.tasks, over.losses
    columns = [_column(over, task) for task in tasks]
    rows = [[label, *(column[place] for column in columns)] for place, label in enumerate(losses)]
    unit = ", in %" if by.scale == 100 else ""
    notes = [f"Mean over seeds{unit}, and the rank by it in brackets."]
    counts = sorted({task.rows[label].n for task in tasks for label in losses})
    seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
    notes[0] += f" n = {seeds} seed{'s' * (counts[-1] > 1)} for each loss and task."
    if any(TIED in cell for row in rows for cell in row):
        notes[0] += f" {TIED}: shown to tie with {over.selection.baseline} on that task."
    headings = ["loss", *("\n".join(wrap(task.title, NARROW)) for task in tasks)]
    return Table(f"Each task: {by.name}", headings, rows, notes)


def _column(over: OverTasks, task: Task) -> list[str]:
    """The cells of a task, in the order of the losses."""
    by = over.selection.by
    return [
        f"{by.shown(task.value(label))} ({rank:g})"
        + (TIED if _verdict_on(over, task, label).startswith("tie") else " ")
        for label, rank in over.ranks_on(task).items()
    ]


def tasks_conclusion(over: OverTasks) -> str:
    """Say in a few sentences what follows from the tasks, or that nothing does."""
    sentences = [f"Over {_count(over)}, by {over.selection.by.name}:", _friedman(over)]
    if over.says_nothing:
        sentences.append(_too_few(over))
    elif not over.rejects:
        sentences.append("So no loss is judged over tasks.")
    else:
        sentences += [_verdicts(over)] * bool(over.against) + [_pairs(over)]
    if over.data_sets < len(over.selection.tasks):
        sentences.append(
            "Tasks of one data set are not independent, so a data set counts once, by the mean "
            "over its tasks."
        )
    moved = max((against.influence for against in over.against.values()), default=0.0)
    if moved > MOVED:
        sentences.append(
            f"With {_units(over, over.data_sets)} the prior counts for much in P: put on the best "
            f"or the worst outcome instead of a tie, it changes one by up to {moved:.2f}."
        )
    return " ".join(sentences)


def _friedman(over: OverTasks) -> str:
    test = over.friedman
    if over.data_sets == 1:
        return "mean ranks are not tested on one data set."
    f = "infinite" if math.isinf(test.f) else f"{test.f:.2f}"
    shown = "differ" if over.rejects else "are not shown to differ"
    return (
        f"mean ranks of the {len(over.losses)} losses {shown} by more than chance (Friedman's test "
        f"with Iman and Davenport's F({test.degrees[0]}, {test.degrees[1]}) = {f}; "
        f"p = {test.p:.2g}, by permutations)."
    )


def _too_few(over: OverTasks) -> str:
    other = over.selection.baseline or "another one"
    return (
        f"Nothing follows from {_units(over, over.data_sets)} about which loss is better: even a "
        f"loss that beat {other} on every one would have p = {over.smallest_p:.2g}, corrected over "
        f"{over.tests} tests. At least {_units(over, over.needed)} are needed."
    )


def _verdicts(over: OverTasks) -> str:
    """Say which losses are better or worse than the baseline over tasks."""
    parts = [
        f"{word} than {over.selection.baseline}: {', '.join(labels)}"
        for word in (BETTER, WORSE)
        if (labels := [label for label in over.losses if _is(over.against.get(label), word)])
    ]
    undecided = [label for label in over.losses if _is(over.against.get(label), OPEN)]
    if undecided:
        parts.append(f"inconclusive: {', '.join(undecided)}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def _is(against: Against | None, word: str) -> bool:
    return against is not None and against.verdict == word


def _pairs(over: OverTasks) -> str:
    """Say which pairs of losses are not shown to differ, all pairs tested together."""
    if not over.groups:
        return "Any two losses are shown to differ (all pairs, corrected)."
    if over.groups == [over.losses]:
        return "Of all pairs, corrected together, none is shown to differ."
    if len(over.groups) > MOST_GROUPS:
        return "Which of all pairs are not shown to differ: the picture (--picture, --page)."
    groups = "; ".join(", ".join(group) for group in over.groups)
    return f"Of all pairs, corrected together, these are not shown to differ: {groups}."
