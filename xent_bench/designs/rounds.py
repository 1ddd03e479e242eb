"""The rounds of a design: the next one begins where the results of the one before allow it."""

from collections.abc import Sequence

from xent_bench.config.configure import ConfigError
from xent_bench.designs.cells import Cell, Setting, Trial, settings_of
from xent_bench.designs.designed import Designed
from xent_bench.designs.ledger import Ledger
from xent_bench.designs.proposed import ask_for_proposals
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
    """Ask for the runs of all settings, each of which goes on by itself.

    ConfigError for keys of a search where nothing is searched.
    """
    settings = settings_of(designed.combinations, designed.loss, designed.seed)
    _refuse_idle_keys(designed.design, settings)
    for setting in settings:
        ledger.about = " ".join(setting.apart_from(settings))
        epochs = setting.epochs or designed.epochs
        if designed.design.is_sequential and not setting.is_tuned:
            trials = {cell.loss: cell.trials[0] for cell in setting.cells}
            seeds = seeds_from(setting.cells[0].seeds, designed.design.max_seeds)
            ask_until_decided(ledger, Course(trials, seeds), designed.design)
        else:
            finalists = [
                ask_for_proposals(ledger, cell, designed.spaces[cell.loss], designed.design)
                if designed.design.is_adaptive
                else ask_for_search(ledger, cell, designed.design, epochs)
                for cell in setting.cells
            ]
            _ask_for_fresh_seeds(ledger, setting.cells, finalists, designed.design)


def _refuse_idle_keys(design: Design, settings: Sequence[Setting]) -> None:
    """Raise a ConfigError for rungs or fresh seeds where no loss has several trials."""
    if any(setting.is_tuned for setting in settings):
        return
    for key, is_set in (("rungs", design.rungs > 1), ("confirm", design.confirm > 0)):
        if is_set:
            raise ConfigError(
                key,
                "chooses among the trials of a loss, and each has one; expected trials=16 and an "
                "interval, or several values of a hyper-parameter",
            )


def _ask_for_fresh_seeds(
    ledger: Ledger,
    cells: Sequence[Cell],
    finalists: Sequence[Sequence[Trial] | None],
    design: Design,
) -> None:
    """Ask for fresh seeds of the chosen trial of each loss, when the search has ended."""
    winners = [
        winner_of(ledger, cell, trials, design)
        for cell, trials in zip(cells, finalists, strict=True)
        if trials is not None
    ]
    if len(winners) < len(cells):
        return
    chosen = [winner for winner in winners if winner is not None]
    most = max(len(trials or ()) for trials in [*finalists, *(cell.trials for cell in cells)])
    tell_choice(ledger, chosen, design.search_by, trials=most)
    if design.is_sequential:
        trials_of = {winner.loss: winner.trial for winner in chosen}
        ask_until_decided(ledger, Course(trials_of, fresh_seeds(cells, design.max_seeds)), design)
    else:
        ask_to_confirm(ledger, chosen, fresh_seeds(cells, design.confirm))
