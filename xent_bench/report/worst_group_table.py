"""The table of the worst subgroup of test, for images with an attribute: a row for each loss."""

from collections import Counter

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.row import Row
from xent_bench.metrics.reported import WORST_GROUP
from xent_bench.tables import Table

WORST, CHANCE, ALL = f"test/{WORST_GROUP}", f"test_null/{WORST_GROUP}", "test/top1"


def worst_group_table(comparison: Comparison) -> Table | None:
    """Table of each loss's worst group, mean over seeds; None where images have no attribute."""
    rows = [row for row in comparison.rows if WORST in row.estimates]
    if not rows:
        return None
    cells = [
        [row.label, _groups(row), str(row.n), *(_cell(row, key) for key in (ALL, WORST, CHANCE))]
        for row in rows
    ]
    notes = [
        "The worst group of a run is the one with the least accuracy on test, of those with enough "
        "images; another seed may have another one. ±: 95 % interval over seeds. The worst of "
        "several groups is bad by chance too. By chance: what it would be, on average, if groups "
        "did not differ. Only what lies clearly below that is a difference between groups."
    ]
    headings = ["loss", "worst group (runs)", "n", "top-1 %", "worst\ngroup %", "by\nchance %"]
    brief = ["Some group is the worst by chance too: compare with the column beside it."]
    return Table("The worst subgroup", headings, cells, notes, 2, brief)


def _groups(row: Row) -> str:
    """The worst groups of the runs, the most frequent first: 'b (2), c (1)'."""
    counts = Counter(run.tags.get("worst_group", "?").partition(", of ")[0] for run in row.runs)
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common())


def _cell(row: Row, key: str) -> str:
    estimate = row.estimates.get(key)
    if estimate is None:
        return "-"
    half = "" if estimate.half_width is None else f"±{100 * estimate.half_width:.1f}"
    return f"{100 * estimate.mean:.1f}{half}"
