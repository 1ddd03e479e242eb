"""Tables and notes of a comparison of models by their predictions, without what needs runs."""

from collections.abc import Sequence

import numpy as np

from xent_bench.arrays import Values
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.evidence import Evidence
from xent_bench.comparison.models import ComparedModels
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.report.comparison_tables import BRIEF, differences, levels
from xent_bench.report.notes import legend, model_facts
from xent_bench.tables import Table


def model_tables(compared: ComparedModels) -> list[Table]:
    """Tables of the means, the differences over seeds, and those over test examples."""
    comparison, evidence = compared
    tables = [levels(comparison, shown_keys(comparison))]
    if any(contrast.difference.n > 1 for contrast in comparison.contrasts):
        tables.append(differences(comparison))
    return [*tables, *filter(None, [over_examples(comparison, evidence)])]


def model_notes(comparison: Comparison, *, in_brief: bool) -> list[str]:
    """Notes beside the tables; without `in_brief` also how to read their marks."""
    return [*([] if in_brief else legend(comparison)), *model_facts(comparison)]


def shown_keys(comparison: Comparison, keys: Sequence[str] = BRIEF) -> list[str]:
    """Return those of `keys` that some row has; without calib none after scaling."""
    return [key for key in keys if any(key in row.estimates for row in comparison.rows)]


def over_examples(comparison: Comparison, evidence: Evidence) -> Table | None:
    """Table of differences to the baseline with intervals over test examples, for these very nets.

    None if there is no such interval, of any model and metric.
    """
    baseline = str(comparison.baseline)
    others = [row.label for row in comparison.rows if row.label != baseline]
    quoted = [by_key()[key] for key in comparison.options.quoted]
    shown = [
        by for by in quoted if any(_cell(evidence, label, baseline, by) != "-" for label in others)
    ]
    if not shown:
        return None
    headings = [
        comparison.noun,
        *(f"{by.above}\n{'points' if by.below == '%' else by.below}" for by in shown),
    ]
    rows = [[label, *(_cell(evidence, label, baseline, by) for by in shown)] for label in others]
    notes = [
        "± 95 % interval over test examples, for these very nets. Nets trained with other seeds "
        "would differ too, which it does not count: no verdict follows from it."
    ]
    if any(cell != "-" and "±" not in cell for row in rows for cell in row[1:]):
        notes.append(
            "Without ±: the difference is the same on every test example, so there is no spread "
            "and no interval; on other examples it may be another one."
        )
    return Table(f"Against {baseline}, over the test examples", headings, rows, notes)


def _cell(evidence: Evidence, label: str, baseline: str, by: Yardstick) -> str:
    """Difference in one metric with its half-width, '-' where it is no finite mean over examples.

    Without a half-width where it is the same on every example.
    """
    values, baseline_values = (
        evidence.by_image.get(model, {}).get(by.key) for model in (label, baseline)
    )
    if values is None or baseline_values is None:
        return "-"
    difference = by.shown(float(np.mean(values - baseline_values)), "+")
    half_width = evidence.image_half_width(label, baseline, by.key)
    if half_width is not None:
        return f"{difference}±{by.shown(half_width)}"
    return difference if _is_one_value(values - baseline_values) else "-"


def _is_one_value(deltas: Values) -> bool:
    """Whether there are at least two differences, all of one finite value."""
    return len(deltas) > 1 and bool(np.isfinite(deltas).all()) and not np.ptp(deltas)
