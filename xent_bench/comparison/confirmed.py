"""Fresh seeds: runs of a chosen trial with seeds that the search did not have.

A search gives its seeds to all trials of a loss. If the chosen trial alone is then trained with
further seeds, by `confirm`, by `until=decided` or by hand, these have chosen nothing: their scores
are neither lucky nor do they share a choice.
"""

from collections import Counter
from collections.abc import Sequence

from xent_bench.comparison.trials import Trial, by_loss, mean_score, seed_of
from xent_bench.comparison.tuning import choose
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.design import design_of
from xent_bench.runs.result import Run


def with_fresh_apart(trials: Sequence[Trial], choose_by: str) -> list[Trial]:
    """Move the runs with fresh seeds of each trial to `Trial.fresh`.

    The trials stay as they are if no design asked for fresh seeds and there are too few to report
    all tuned losses by them. ValueError as `choose`.
    """
    of_search = {loss: _seeds_of_search(group) for loss, group in by_loss(trials).items()}
    parted = [_parted(trial, of_search[trial.loss], choose_by) for trial in trials]
    if not any(trial.fresh for trial in parted):
        return list(trials)
    if any(_is_designed(run) for trial in parted for run in trial.fresh):
        return parted
    choices = choose(parted, choose_by).values()
    return parted if any(choice.is_confirmed for choice in choices) else list(trials)


def _seeds_of_search(trials: Sequence[Trial]) -> set[int]:
    """Seeds that more than half of a loss's trials have, finished or not.

    More than one trial may have fresh seeds: that which was the best before more trials were drawn.
    """
    counts = Counter(seed for trial in trials for seed in trial.seeds | trial.unfinished_seeds)
    return {seed for seed, count in counts.items() if 2 * count > len(trials)}


def _parted(trial: Trial, seeds: set[int], choose_by: str) -> Trial:
    """The trial with its runs of other seeds than these apart; unchanged if it has none or all."""
    fresh = [run for run in trial.searched_runs if seed_of(run) not in seeds]
    if not fresh or len(fresh) == trial.begun:
        return trial
    runs = [run for run in trial.runs if seed_of(run) in seeds]
    unfinished = [run for run in trial.unfinished if seed_of(run) in seeds]
    return Trial(trial.loss, trial.varied, runs, unfinished, mean_score(runs, choose_by), fresh)


def _is_designed(run: Run | Unfinished) -> bool:
    design = design_of(run.tags)
    return design.confirm > 0 or design.is_sequential
