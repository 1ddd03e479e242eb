"""The table of costs of one run, and the sentences below it."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path

from xent_bench.evaluation.cost_file import Costs, read_costs
from xent_bench.evaluation.expected_cost import (
    LEAST,
    Change,
    Decision,
    compared,
    decide,
    right_threshold,
)
from xent_bench.metrics.reported import TITLES, calibrators_in
from xent_bench.runs.files import PREDICTIONS
from xent_bench.runs.predictions import load
from xent_bench.runs.result import Run
from xent_bench.tables import Table

HEADINGS = (
    *("likeliest class, or\nleast cost by p", "cost\n± SE", "abstains\n%"),
    *("difference from\nlikeliest class", "difference from\np as trained"),
)
VERBS = {
    "lower": "cost less",
    "higher": "cost more",
    "not shown to differ": "are not shown to cost more or less",
}


def costs_of_run(folder: Path, run: Run, file: Path, calibrators: Collection[str]) -> Table:
    """Read the costs, and compare what the answers of a run cost. DataError if either is bad."""
    predictions = load(folder / PREDICTIONS)
    costs = read_costs(file, predictions.classes)
    decisions = decide(predictions, costs, [*calibrators_in(run.metrics), *calibrators])
    return cost_table(run.name, decisions, costs, len(predictions.calib.target))


def cost_table(name: str, decisions: Sequence[Decision], costs: Costs, n_calib: int) -> Table:
    """Table with a row for each rule: its mean cost on test, and how it differs from others."""
    comparisons = compared(decisions, costs)
    changes = {(after.rule, before.rule): difference for after, before, difference in comparisons}
    plain = decisions[0]
    raw = next((rule for rule in decisions if rule.is_raw), None)
    rows = []
    for decision in decisions:
        cells = [
            decision.rule.removeprefix(LEAST),
            _with_error(decision),
            f"{100 * decision.abstains:.1f}",
        ]
        for before in (plain, raw):
            key = decision.rule, before.rule if before is not None else ""
            cells.append(_shown(changes[key]) if key in changes else "-")
        rows.append(cells if costs.may_abstain else [*cells[:2], *cells[3:]])
    headings = HEADINGS if costs.may_abstain else (*HEADINGS[:2], *HEADINGS[3:])
    notes = [*_notes(decisions, costs, n_calib), *_claims(comparisons)]
    return Table(f"{name}: mean cost of an image of test", headings, rows, notes)


def _claims(comparisons: Sequence[tuple[Decision, Decision, Change]]) -> list[str]:
    """Sentences on what each calibrator does to the cost of the answers of least expected cost."""
    return [
        f"By the probabilities after {TITLES[after.prefix]} the answers {VERBS[difference.word]} "
        f"than by those as trained: {_shown(difference)}."
        for after, before, difference in comparisons
        if after.threshold is None and before.is_raw
    ]


def _notes(decisions: Sequence[Decision], costs: Costs, n_calib: int) -> list[str]:
    n = len(decisions[0].cost)
    notes = [
        f"SE: standard error over the {n:,} test images. In brackets: intervals of the paired "
        "differences, which all hold together in 95 of 100 sets of test images; each end counts "
        f"one image more, at the largest difference, {costs.span:g}. Nothing of this is kept."
    ]
    if costs.positive is not None:
        notes.append(f"{costs.names[1]} against the rest.")
    notes.extend(
        (
            f"The best p of {costs.names[1]} on the {n_calib:,} images of calib, after temperature "
            f"scaling: {_threshold(decision.threshold)}; if probabilities were right it would be "
            f"{right_threshold(costs):.3g}."
        )
        for decision in decisions
        if decision.threshold is not None
    )
    if not any(decision.is_raw for decision in decisions):
        notes.append("As trained the scores are no probabilities.")
    return notes


def _threshold(value: float | None) -> str:
    return "none, it is never the answer" if value in (None, math.inf) else f"{value:.3g}"


def _with_error(decision: Decision) -> str:
    error = decision.error
    return f"{decision.mean:.4g}" + (f" ± {error:.2g}" if error > 0 else "")


def _shown(difference: Change) -> str:
    return f"{difference.mean:+.3g} [{difference.low:+.2g}, {difference.high:+.2g}]"
