"""The rounds of a design: the next one begins where the results of the one before allow it."""

from collections.abc import Sequence

from xent_bench.designs.cells import Cell, settings_of
from xent_bench.designs.designed import Designed
from xent_bench.designs.ledger import Ledger
from xent_bench.designs.stages import (
    ask_for_search,
    ask_to_confirm,
    fresh_seeds,
    tell_choice,
    winner_of,
)
from xent_bench.runs.design import Design


def ask_for_rounds(ledger: Ledger, designed: Designed) -> None:
    """Ask for the runs of all settings, each of which goes on by itself."""
    for cells in settings_of(designed.combinations, designed.loss, designed.seed):
        _ask_in_setting(ledger, cells, designed.design)


def _ask_in_setting(ledger: Ledger, cells: Sequence[Cell], design: Design) -> None:
    have_ended = [ask_for_search(ledger, cell) for cell in cells]
    if not all(have_ended):
        return
    chosen = [winner_of(ledger, cell, design) for cell in cells]
    winners = [winner for winner in chosen if winner is not None]
    tell_choice(ledger, cells, winners, design.search_by)
    ask_to_confirm(ledger, winners, fresh_seeds(cells, design.confirm))
