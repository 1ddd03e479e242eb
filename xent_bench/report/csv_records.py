"""A comparison as records, in full precision: what a CSV file or a data frame wants."""

from typing import Any

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import Contrast
from xent_bench.report import comparison_tables


def losses(comparison: Comparison) -> list[dict[str, Any]]:
    """One a loss: every metric with the half-width of its interval, and the differences."""
    against = {
        (each.label, column): value
        for each in comparison.contrasts
        for column, value in _columns(each).items()
    }
    keys = list(dict.fromkeys(column for _, column in against))
    return [
        {
            "experiment": comparison.experiment,
            "setting": comparison.setting,
            "loss": row.trial.loss,
            **row.trial.varied,
            "n": row.n,
            "begun": max(row.n, row.trial.begun),
            "trials": row.trials,
            "reported": " ".join(run.tags.get("key", run.name) for run in row.runs),
            "seconds": row.seconds,
            "examples_per_second": row.examples_per_second,
        }
        | {
            column: value
            for key, found in row.estimates.items()
            for column, value in ((key, found.mean), (f"{key}/half_width", found.half_width))
        }
        | {
            f"{reading}_verdict": verdicts[row.label]
            for reading, verdicts in comparison.trust.items()
            if row.label in verdicts
        }
        | {column: against.get((row.label, column)) for column in keys}
        for row in comparison.rows
    ]


def trials(comparison: Comparison) -> list[dict[str, Any]]:
    """One a trial: its score on val, and whether it was chosen."""
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
            "chosen": any(trial is each for each in chosen),
        }
        for trial in comparison.trials
    ]


def power(comparison: Comparison, points: float) -> list[dict[str, Any]]:
    """One a loss: the seeds needed, as the table shows them."""
    table = comparison_tables.power(comparison, points)
    names = [heading.replace("\n", " ") for heading in table.headings]
    where = {"experiment": comparison.experiment, "setting": comparison.setting}
    return [where | dict(zip(names, row, strict=True)) for row in table.rows]


def _columns(contrast: Contrast) -> dict[str, Any]:
    found, key = contrast.difference, contrast.yardstick.key
    return {
        f"{key}/difference": found.mean,
        f"{key}/difference/half_width": found.half_width,
        f"{key}/difference/n": found.n,
        f"{key}/difference/spread": found.spread,
        f"{key}/difference/p_holm": contrast.p,
        f"{key}/difference/p_tie_holm": contrast.p_tie,
        f"{key}/difference/effect_size": found.effect_size,
        f"{key}/difference/improvement": found.improvement,
        f"{key}/difference/verdict": contrast.verdict,
    }
