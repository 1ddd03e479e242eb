"""The table of losses under several conditions of the data, and the sentence on their order."""

from textwrap import wrap

from xent_bench.comparison.across import Across, Change, Condition
from xent_bench.comparison.row import Row
from xent_bench.comparison.yardsticks import Yardstick
from xent_bench.tables import Table

CHANGED = "⇅"
NARROW = 16  # letters of a heading's line


def across_tables(across: Across) -> list[Table]:
    """Tables of the mean and the rank of each loss under each condition, one for each metric."""
    return [_table(across, by) for by in across.yardsticks]


def _table(across: Across, by: Yardstick) -> Table:
    headings = ["loss", *map(_heading, across.conditions)]
    columns = [_column(across, condition, by) for condition in across.conditions]
    rows = [
        [label, *(column.get(label, "-") for column in columns)]
        for label in across.losses
        if any(label in column for column in columns)
    ]
    title = f"{across.title}, under {len(across.conditions)} conditions: {by.name}"
    unit = ", in %" if by.scale == 100 else ""
    note = f"Mean over seeds{unit}, and the rank by it in brackets; ranks alone show nothing."
    counts = sorted({row.n for c in across.conditions for row in c.comparison.rows if row.n})
    if len(counts) > 1:
        note += f" Means are over {counts[0]} to {counts[-1]} seeds, so some over other seeds."
    if any(change.metric == by.key for change in across.changes):
        note += f" {CHANGED}: shown to have changed places with {across.baseline}."
    return Table(title, headings, rows, [note])


def _heading(condition: Condition) -> str:
    """The conditions on lines of a few words, so that several fit beside each other."""
    return "\n".join(line for part in condition.parts for line in wrap(part, NARROW))


def _column(across: Across, condition: Condition, by: Yardstick) -> dict[str, str]:
    """The cells of a condition, by the loss's label."""
    rows = {row.label: row for row in condition.comparison.rows if by.key in row.estimates}
    order = sorted(rows, key=lambda label: -by.better * rows[label].estimates[by.key].mean)
    changed = {
        change.loss
        for change in across.changes
        if (change.condition, change.metric) == (condition.words, by.key)
    }
    return {
        label: f"{_shown(rows[label], by)} ({place}){CHANGED if label in changed else ' '}"
        for place, label in enumerate(order, 1)
    }


def _shown(row: Row, by: Yardstick) -> str:
    return by.shown(row.estimates[by.key].mean)


def across_sentence(across: Across) -> str:
    """Say which losses are shown to change places with the baseline, or why nothing is said."""
    if not across.has_reference:
        return (
            "Which losses change places is not tested: there are no runs of this setting without "
            "a condition (noise=none imbalance=none train_fraction=1)."
        )
    if across.baseline is None:
        return (
            "Which losses change places is not tested: not every condition has the baseline, "
            "which --baseline names."
        )
    names = " and ".join(by.name for by in across.yardsticks)
    tested = f"{names}; corrected over losses, conditions and metrics"
    if not across.changes:
        return (
            f"No loss is shown to change places with {across.baseline} under these conditions "
            f"({tested})."
        )
    sentences = [_sentence(across, change) for change in _first_of_each(across.changes)]
    return f"Changed places with {across.baseline} ({tested}): {'; '.join(sentences)}."


def _first_of_each(changes: list[Change]) -> list[Change]:
    """One change for each loss, metric and direction."""
    firsts = {
        (change.loss, change.metric, change.better_in_reference): change
        for change in reversed(changes)
    }
    return [change for change in changes if change in firsts.values()]


def _sentence(across: Across, change: Change) -> str:
    """A loss that changes places, and every condition under which it does."""
    name = next(by.name for by in across.yardsticks if by.key == change.metric)
    alike = [
        other.condition
        for other in across.changes
        if (other.loss, other.metric, other.better_in_reference)
        == (change.loss, change.metric, change.better_in_reference)
    ]
    before, after = ("better", "worse") if change.better_in_reference else ("worse", "better")
    conditions = ", ".join(alike)
    return (
        f"{change.loss} is {before} on the data as it is and {after} with {conditions}, in {name}"
    )
