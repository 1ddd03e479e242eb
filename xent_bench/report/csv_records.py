"""Records of a comparison in full precision, for CSV files and data frames."""

from collections.abc import Sequence
from typing import Any

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import Contrast
from xent_bench.comparison.over_tasks import Against, over_tasks
from xent_bench.comparison.row import Row
from xent_bench.comparison.spent import epochs_trained, state_of
from xent_bench.comparison.tasks import select_tasks
from xent_bench.report import comparison_tables
from xent_bench.report.cost_table import costs_of_power
from xent_bench.report.search_records import search_records
from xent_bench.tables import Table


def losses(comparison: Comparison) -> list[dict[str, Any]]:
    """Records with all metrics, half-widths of intervals and differences, one for each loss."""
    differences = {
        (contrast.label, column): value
        for contrast in comparison.contrasts
        for column, value in _columns(contrast).items()
    }
    columns = list(dict.fromkeys(column for _, column in differences))
    searched = search_records(comparison) if comparison.noun == "loss" else {}
    return [
        {
            "experiment": comparison.experiment,
            "setting": comparison.setting,
            comparison.noun: row.trial.loss,
            **row.trial.varied,
            "n": row.n,
        }
        | (_of_runs(row) if comparison.noun == "loss" else {})
        | {
            column: value
            for key, estimate in row.estimates.items()
            for column, value in ((key, estimate.mean), (f"{key}/half_width", estimate.half_width))
        }
        | {
            f"{reading}_verdict": verdicts[row.label]
            for reading, verdicts in comparison.trust.items()
            if row.label in verdicts
        }
        | {column: differences.get((row.label, column)) for column in columns}
        | _design(comparison, row.label)
        | searched.get(row.label, {})
        for row in comparison.rows
    ]


def _of_runs(row: Row) -> dict[str, Any]:
    """Columns of a loss's runs, which models that are given by their predictions do not have."""
    return {
        "begun": row.choice.begun,
        "trials": row.trials,
        "reported": " ".join(run.tags.get("key", run.name) for run in row.runs),
        "seconds": row.seconds,
        "examples_per_second": row.examples_per_second,
    }


def trials(comparison: Comparison) -> list[dict[str, Any]]:
    """Records with the score on val and whether it was chosen, one for each trial."""
    chosen = [row.trial for row in comparison.rows]
    return [
        {
            "experiment": comparison.experiment,
            "setting": comparison.setting,
            "loss": trial.loss,
            **trial.varied,
            "n": len(trial.runs),
            "begun": trial.begun,
            comparison.options.choose_by: trial.score and trial.score.mean,
            f"{comparison.options.choose_by}/half_width": trial.score and trial.score.half_width,
            "chosen": any(trial is other for other in chosen),
            "state": state_of(trial).value,
            "epochs": sum(epochs_trained(run) or 0 for run in trial.all_runs),
        }
        for trial in comparison.trials
    ]


def power(comparison: Comparison, points: float) -> list[dict[str, Any]]:
    """Records of the tables of seeds needed and of what they cost, one for each loss."""
    where = {"experiment": comparison.experiment, "setting": comparison.setting}
    needed = _records(comparison_tables.power(comparison, points))
    costs = _records(costs_of_power(comparison, points))
    return [where | record | costs.get(label, {}) for label, record in needed.items()]


def _records(table: Table | None) -> dict[str, dict[str, Any]]:
    """The rows of a table by their first cell, with its headings on one line as names."""
    if table is None:
        return {}
    names = [heading.replace("\n", " ") for heading in table.headings]
    return {row[0]: dict(zip(names, row, strict=True)) for row in table.rows}


def _design(comparison: Comparison, label: str) -> dict[str, Any]:
    """Columns of a sequential design; none without one. Looks are numbered from 1."""
    course = comparison.sequential
    if course is None:
        return {}
    decision = course.decisions.get(label)
    return {
        "looks": " ".join(map(str, course.looks)),
        "as_declared": course.is_as_declared,
        "decision": decision and decision.verdict,
        "decided_at_look": None if decision is None or decision.look is None else decision.look + 1,
    }


def tasks(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
    """Records of the losses over several tasks, one for each loss; empty without such tasks."""
    selection = select_tasks(comparisons)
    if selection.lack:
        return []
    over = over_tasks(selection)
    key = f"{selection.by.key}/over_tasks"
    names = {
        "experiment": " ".join(dict.fromkeys(t.comparison.experiment for t in selection.tasks)),
        "setting": f"over {len(selection.tasks)} tasks",
        "tasks": "; ".join(task.title for task in selection.tasks),
        "data_sets": over.data_sets,
        f"{key}/friedman_f": over.friedman.f,
        f"{key}/friedman_p": over.friedman.p,
    }
    ranks = {f"{key}/rank {task.title}": over.ranks_on(task) for task in selection.tasks}
    return [
        names
        | {"loss": label, f"{key}/mean_rank": mean_rank}
        | {column: of_losses[label] for column, of_losses in ranks.items()}
        | {f"{key}/not_shown_to_differ": " ".join(over.not_shown_to_differ(label))}
        | _against_columns(key, over.against.get(label))
        for label, mean_rank in over.mean_ranks.items()
    ]


def _against_columns(key: str, against: Against | None) -> dict[str, Any]:
    """Columns of a loss against the baseline over tasks; none for the baseline itself."""
    if against is None:
        return {}
    return {
        f"{key}/difference": against.difference,
        f"{key}/p_holm": against.p,
        f"{key}/verdict": against.verdict,
        **{f"{key}/probability_{name}": p for name, p in against.posterior._asdict().items()},
        f"{key}/influence_of_prior": against.influence,
    }


def _columns(contrast: Contrast) -> dict[str, Any]:
    """Columns of a difference to the baseline, by name."""
    delta, key = contrast.difference, contrast.yardstick.key
    return {
        f"{key}/difference": delta.mean,
        f"{key}/difference/half_width": delta.half_width,
        f"{key}/difference/n": delta.n,
        f"{key}/difference/spread": delta.spread,
        f"{key}/difference/p_holm": contrast.p,
        f"{key}/difference/p_tie_holm": contrast.p_tie,
        f"{key}/difference/effect_size": delta.effect_size,
        f"{key}/difference/improvement": delta.improvement,
        f"{key}/difference/verdict": contrast.verdict,
    }
