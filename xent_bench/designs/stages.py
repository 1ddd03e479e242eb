"""The stages of a design: trials on val, rung by rung; then fresh seeds of each loss's chosen one.

Each is a function of the results so far, and asks for the runs that it can name by now.
"""

from collections.abc import Sequence
from typing import NamedTuple

from xent_bench.comparison.trials import trials_of
from xent_bench.comparison.tuning import choose
from xent_bench.designs.cells import Cell, Trial
from xent_bench.designs.ledger import Ledger
from xent_bench.runs.design import Design
from xent_bench.runs.result import Run


class Winner(NamedTuple):
    """The chosen trial of a loss."""

    loss: str
    trial: Trial


def ask_for_search(ledger: Ledger, cell: Cell) -> bool:
    """Ask for every trial of a loss with each of its seeds; whether all of them have ended."""
    runs = [run for trial in cell.trials for run in trial.runs.values()]
    for run in runs:
        ledger.ask(run)
    return all(map(ledger.has_ended, runs))


def winner_of(ledger: Ledger, cell: Cell, design: Design) -> Winner | None:
    """Choose a trial of the loss on val, as a report does; None where no trial has a result."""
    if len(cell.trials) == 1:
        return Winner(cell.loss, cell.trials[0])
    owners: dict[str, Trial] = {}
    runs: list[Run] = []
    for trial in cell.trials:
        for words in trial.runs.values():
            if run := ledger.result(words):
                owners[str(run.folder)] = trial
                runs.append(run)
    if not runs:
        return None
    (choice,) = choose(trials_of(runs, [], design.search_by), design.search_by).values()
    return Winner(cell.loss, owners[str(choice.trial.runs[0].folder)])


def tell_choice(
    ledger: Ledger, cells: Sequence[Cell], winners: Sequence[Winner], search_by: str
) -> None:
    """Tell which trial of each loss was chosen; nothing where no loss has several."""
    trials = max(len(cell.trials) for cell in cells)
    if trials < 2:
        return
    listed = "; ".join(
        " ".join([winner.loss, *(word.partition(".")[2] for word in winner.trial.hyper)])
        for winner in winners
    )
    ledger.news.append(f"Chosen by {search_by}, each loss among up to {trials} trials: {listed}")


def fresh_seeds(cells: Sequence[Cell], number: int) -> list[int]:
    """The seeds after the last one by which any trial of these losses was chosen."""
    last = max(seed for cell in cells for seed in cell.seeds)
    return list(range(last + 1, last + 1 + number))


def ask_to_confirm(ledger: Ledger, winners: Sequence[Winner], seeds: Sequence[int]) -> None:
    """Ask for the chosen trial of each loss with seeds that had no say in the choice."""
    for seed in seeds:
        for winner in winners:
            ledger.ask(winner.trial.with_seed(seed))
