"""The rounds of a design: the next one begins where the results of the one before allow it."""

from collections.abc import Sequence

from xent_bench.designs.cells import Cell, settings_of
from xent_bench.designs.designed import Designed
from xent_bench.designs.ledger import Ledger
from xent_bench.designs.stages import (
    ask_for_search,
    ask_to_confirm,
    fresh_seeds,
    seeds_from,
    tell_choice,
    winner_of,
)
from xent_bench.designs.until_decided import Course, ask_until_decided
from xent_bench.runs.design import Design


def ask_for_rounds(ledger: Ledger, designed: Designed) -> None:
    """Ask for the runs of all settings, each of which goes on by itself."""
    for setting in settings_of(designed.combinations, designed.loss, designed.seed):
        epochs = setting.epochs or designed.epochs
        if designed.design.is_sequential and not setting.is_tuned:
            trials = {cell.loss: cell.trials[0] for cell in setting.cells}
            seeds = seeds_from(setting.cells[0].seeds, designed.design.max_seeds)
            ask_until_decided(ledger, Course(trials, seeds), designed.design)
        else:
            _ask_in_tuned_setting(ledger, setting.cells, designed.design, epochs)


def _ask_in_tuned_setting(
    ledger: Ledger, cells: Sequence[Cell], design: Design, epochs: int
) -> None:
    """Ask for trials; when they have ended, for fresh seeds of the chosen one of each loss."""
    finalists = [ask_for_search(ledger, cell, design, epochs) for cell in cells]
    winners = [
        winner_of(ledger, cell, trials, design)
        for cell, trials in zip(cells, finalists, strict=True)
        if trials is not None
    ]
    if len(winners) < len(cells):
        return
    chosen = [winner for winner in winners if winner is not None]
    tell_choice(ledger, cells, chosen, design.search_by)
    if design.is_sequential:
        trials_of = {winner.loss: winner.trial for winner in chosen}
        ask_until_decided(ledger, Course(trials_of, fresh_seeds(cells, design.max_seeds)), design)
    else:
        ask_to_confirm(ledger, chosen, fresh_seeds(cells, design.confirm))
