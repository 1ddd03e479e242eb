"""Records of a search in full precision, one for each loss, as further columns of a CSV file."""

from typing import Any

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.importance import importances
from xent_bench.comparison.spent import State, spent_by_loss
from xent_bench.comparison.surroundings import surroundings
from xent_bench.comparison.winners_curse import winners_curses


def search_records(comparison: Comparison) -> dict[str, dict[str, Any]]:
    """Columns with what was spent and, for tuned losses, on the choice, by the loss's label."""
    columns: dict[str, dict[str, Any]] = {}
    for spent in spent_by_loss(comparison.trials):
        columns[spent.loss] = {
            "trials_begun": spent.begun,
            **{f"trials_{state.name.lower()}": spent.trials[state] for state in State},
            "runs": spent.runs,
            "runs_fresh": spent.fresh,
            "epochs": spent.epochs,
            "runs_of_unknown_epochs": spent.untold,
        }
    for around in surroundings(comparison):
        columns[around.row.label]["choice"] = around.word
    for entry in importances(comparison):
        columns[entry.loss] |= {
            f"importance/{entry.key}": entry.share,
            f"importance/{entry.key}/error": entry.error,
            f"importance/{entry.key}/p_holm": entry.p,
        }
    for curse in winners_curses(comparison):
        columns[curse.row.label] |= {
            f"{comparison.options.choose_by}/chosen": curse.chosen.mean,
            f"{comparison.options.choose_by}/fresh": curse.fresh.mean,
            f"{comparison.options.choose_by}/fresh/half_width": curse.fresh.half_width,
            f"{comparison.options.choose_by}/fresh/gap": curse.gap,
        }
    return columns
