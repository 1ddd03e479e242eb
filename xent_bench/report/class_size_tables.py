"""Tables for runs whose classes differ in size: recall by class size, and the prior correction."""

from typing import NamedTuple

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.row import Row
from xent_bench.tables import Table


class Column(NamedTuple):
    """A column: its heading, the key of its metric, and how that is shown."""

    heading: str
    key: str
    scale: int = 100
    decimals: int = 1


RECALLS = (
    Column("many %\nraw", "test/top1_many"),
    Column("medium %\nraw", "test/top1_medium"),
    Column("few %\nraw", "test/top1_few"),
    Column("worst %\nraw", "test/worst_class_top1"),
    Column("many %\ncorrected", "test_pc/top1_many"),
    Column("few %\ncorrected", "test_pc/top1_few"),
    Column("worst %\ncorrected", "test_pc/worst_class_top1"),
)
PRIORS = (
    Column("top-1 %\nraw", "test/top1"),
    Column("top-1 %\ncorrected", "test_pc/top1"),
    Column("NLL\nscaled", "test_ts/nll", 1, 3),
    Column("NLL\ncorrected", "test_pc/nll", 1, 3),
    Column("ECE %\ncorrected", "test_pc/ece"),
    Column("a", "test_pc/prior_exponent", 1, 2),
    Column("top-1 %\ntrain prior", "test/top1_train_prior"),
)
ON_RECALLS = (
    "Recall of the classes with many, medium and few images in train, about a third of the classes "
    "each (classes of one size stay together), and of the worst class. ±: 95 % interval over seeds."
)
ON_PRIORS = (
    "Corrected: probabilities for the class frequencies of test, log p = u / T + (a - 1) log "
    "pi_train + log pi_test, with T and a fitted on calib for every loss alike. a is near 0 where "
    "the outputs contain train's class frequencies, as with ce, and near 1 where the loss takes "
    "them out, as balanced_softmax does. Train prior: test images weighted by their class, as "
    "frequent as in train. --primary test_pc/nll judges losses by the corrected NLL."
)


def class_size_tables(comparison: Comparison) -> list[Table]:
    """The table of recalls by class size and that of the prior correction, where runs have them."""
    return [
        *_table(comparison, "By class size", RECALLS, "test/worst_class_top1", ON_RECALLS),
        *_table(comparison, "At other class frequencies", PRIORS, "test_pc/nll", ON_PRIORS),
    ]


def _table(
    comparison: Comparison, title: str, columns: tuple[Column, ...], needed: str, note: str
) -> list[Table]:
    rows = [row for row in comparison.rows if needed in row.estimates]
    if not rows:
        return []
    shown = [column for column in columns if any(column.key in row.estimates for row in rows)]
    cells = [[row.label, str(row.n), *(_cell(row, column) for column in shown)] for row in rows]
    headings = ["loss", "n", *(column.heading for column in shown)]
    return [Table(title, headings, cells, [note], 1, [note])]


def _cell(row: Row, column: Column) -> str:
    estimate = row.estimates.get(column.key)
    if estimate is None:
        return "-"
    mean, half = estimate.mean, estimate.half_width
    shown = f"{column.scale * mean:.{column.decimals}f}"
    return shown if half is None else f"{shown}±{column.scale * half:.{column.decimals}f}"
