"""The stages of a design: trials on val, rung by rung; then fresh seeds of the chosen trials.

Each stage is a function of the results so far, and asks for the runs that are known by now.
"""

from collections.abc import Sequence
from typing import NamedTuple

from xent_bench.comparison.trials import trials_of
from xent_bench.comparison.tuning import choose
from xent_bench.config.choice_of_epoch import SIGNS
from xent_bench.designs.cells import Cell, Trial, mean_over_seeds, runs_of
from xent_bench.designs.halving import rung_epochs, survivors
from xent_bench.designs.ledger import Ledger
from xent_bench.runs.design import Design
from xent_bench.runs.result import Run


class Winner(NamedTuple):
    """The chosen trial of a loss."""

    loss: str
    trial: Trial


def ask_for_search(ledger: Ledger, cell: Cell, design: Design, epochs: int) -> list[Trial] | None:
    """Ask for the trials of a loss, rung by rung; return those that were trained to the end.

    None while a run has not ended: which trials go on is known when all runs of a rung have ended.
    """
    trials = cell.trials
    for epoch in rung_epochs(epochs, design.rungs)[:-1]:
        for run in runs_of(trials):
            ledger.ask(run, pause_after=epoch)
        if not all(ledger.has_reached(run, epoch) for run in runs_of(trials)):
            ledger.foresee(
                f"{cell.loss}: the better half of {len(trials)} trials goes on after epoch {epoch}"
            )
            return None
        scores = {trial.hyper: _score(ledger, trial, epoch, design.search_by) for trial in trials}
        going_on = survivors(scores, SIGNS[design.search_by])
        ledger.tell(
            f"{cell.loss}: after epoch {epoch} of {epochs}, {len(going_on)} of {len(trials)} "
            f"trials go on, by {design.search_by}"
        )
        trials = [trial for trial in trials if trial.hyper in going_on]
    for run in runs_of(trials):
        ledger.ask(run)
    if all(map(ledger.has_ended, runs_of(trials))):
        return trials
    if design.confirm or design.is_sequential:
        ledger.foresee(f"{cell.loss}: fresh seeds of the chosen trial")
    return None


def _score(ledger: Ledger, trial: Trial, epoch: int, metric: str) -> float | None:
    """Mean score of a trial over its seeds after an epoch; None if a run has failed."""
    return mean_over_seeds([ledger.val(run, epoch, metric) for run in trial.runs.values()])


def winner_of(
    ledger: Ledger, cell: Cell, finalists: Sequence[Trial], design: Design
) -> Winner | None:
    """Choose a trial of the loss on val, as a report does; None where no trial has a result."""
    if len(cell.trials) == 1:
        return Winner(cell.loss, cell.trials[0])
    owners: dict[str, Trial] = {}
    runs: list[Run] = []
    for trial in finalists:
        for words in trial.runs.values():
            if run := ledger.result(words):
                owners[str(run.folder)] = trial
                runs.append(run)
    if not runs:
        return None
    (choice,) = choose(trials_of(runs, [], design.search_by), design.search_by).values()
    return Winner(cell.loss, owners[str(choice.trial.runs[0].folder)])


def tell_choice(ledger: Ledger, winners: Sequence[Winner], search_by: str, *, trials: int) -> None:
    """Tell which of so many trials of each loss was chosen; nothing where no loss has several."""
    if trials < 2:
        return
    listed = "; ".join(
        " ".join([winner.loss, *(word.partition(".")[2] for word in winner.trial.hyper)])
        for winner in winners
    )
    ledger.tell(f"Chosen by {search_by}, each loss among up to {trials} trials: {listed}")


def seeds_from(typed: Sequence[int], number: int) -> list[int]:
    """A number of seeds: those that were typed, and then those after the largest of them."""
    following = range(max(typed) + 1, max(typed) + 1 + number)
    return [*typed, *following][:number]


def fresh_seeds(cells: Sequence[Cell], number: int) -> list[int]:
    """The seeds after the last one by which any trial of these losses was chosen."""
    last = max(seed for cell in cells for seed in cell.seeds)
    return list(range(last + 1, last + 1 + number))


def ask_to_confirm(ledger: Ledger, winners: Sequence[Winner], seeds: Sequence[int]) -> None:
    """Ask for the chosen trial of each loss with seeds that had no say in the choice."""
    for seed in seeds:
        for winner in winners:
            ledger.ask(winner.trial.with_seed(seed))
