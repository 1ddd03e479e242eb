"""Notes on a search: what it has cost, and how much of the chosen scores was luck."""

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.spent import Spent, State, spent_by_loss
from xent_bench.comparison.surroundings import yardstick_of
from xent_bench.comparison.winners_curse import mean_luck, winners_curses
from xent_bench.report.tuned import briefly
from xent_bench.tables import n_runs


def search_notes(comparison: Comparison) -> list[str]:
    """Notes on what a search has cost, and on the winner's curse; empty without a search."""
    return [*_spent(comparison), *_luck(comparison)]


def _spent(comparison: Comparison) -> list[str]:
    """Note on trials and epochs of each loss, where points were drawn or trials were paused."""
    if not any(trial.is_paused or trial.is_drawn for trial in comparison.trials):
        return []
    texts: dict[str, list[str]] = {}
    for spent in spent_by_loss(comparison.trials):
        texts.setdefault(_cost(spent), []).append(spent.loss)
    if len(texts) == 1:
        return [f"Spent on each loss: {next(iter(texts))}."]
    costs = [f"{text} for {briefly(losses)}" for text, losses in texts.items()]
    return [f"Spent: {'; '.join(costs)}."]


def _cost(spent: Spent) -> str:
    """Trials, runs and epochs: '16 trials (4 finished, 12 paused), 53 runs, 252 epochs'."""
    states = [f"{spent.trials[state]} {state.value}" for state in State if spent.trials[state]]
    fresh = f", {spent.fresh} of them with fresh seeds" * bool(spent.fresh)
    trials = f"{_counted(spent.begun, 'trial')} ({', '.join(states)})"
    return f"{trials}, {n_runs(spent.runs)}{fresh}, {_counted(spent.epochs, 'epoch')}"


def _counted(number: int, thing: str) -> str:
    """'1 trial' or '1,200 trials'."""
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _luck(comparison: Comparison) -> list[str]:
    """Note on how much better choosing seeds scored than fresh ones."""
    curses, metric = winners_curses(comparison), comparison.options.choose_by
    if not curses:
        return []
    by = yardstick_of(comparison)
    luck = mean_luck(curses, metric)
    size = f"{abs(luck):.4f}" if by is None else f"{by.shown(abs(luck))}{by.unit}"
    gaps = [
        f"{curse.row.label} {curse.gap:+.4f}"
        if by is None
        else f"{curse.row.label} {by.shown(curse.gap, '+')}"
        for curse in curses
    ]
    compared = f"{size} {'better' if luck >= 0 else 'worse'} in {metric} than"
    if not any(digit in size for digit in "123456789"):  # as shown it is 0
        compared = f"as well in {metric} as"
    return [
        f"The winner's curse, on val: the seeds that chose score {compared} fresh seeds of the "
        f"same trials, mean over losses (fresh minus chosen: {briefly(gaps)})."
    ]
