"""The trials of an adaptive search: batch after batch, each from the scores of those before."""

from xent_bench.config.choice_of_epoch import SIGNS
from xent_bench.config.choices import key_of
from xent_bench.designs.adaptive import batch_after, next_points
from xent_bench.designs.cells import Cell, Trial, mean_over_seeds, runs_of
from xent_bench.designs.dimensions import Point, Space
from xent_bench.designs.ledger import Ledger, Overrides
from xent_bench.runs.design import Design


def ask_for_proposals(
    ledger: Ledger, cell: Cell, space: Space, design: Design
) -> list[Trial] | None:
    """Ask for the trials of a loss, batch by batch, and return them when all have ended.

    None while a run of a batch has not ended.
    """
    assert design.trials is not None
    trials = list(cell.trials)
    while True:
        runs = runs_of(trials)
        for run in runs:
            ledger.ask(run)
        more = batch_after(len(trials), design.trials)
        if not all(map(ledger.has_ended, runs)):
            if more:
                ledger.foresee(f"{cell.loss}: {more} or more trials near the best of these")
            return None
        points = more and next_points(
            space,
            [trial.hyper for trial in trials],
            [_score(ledger, trial, design.search_by) for trial in trials],
            more,
            design.sampler_seed,
            SIGNS[design.search_by] > 0,
        )
        if not points:
            return trials
        trials += [_at(point, trials[0]) for point in points]


def _at(point: Point, trial: Trial) -> Trial:
    """The trial with the same fixed values and seeds at another point."""
    values = {key_of(word): word for word in point}

    def moved(words: Overrides) -> Overrides:
        return tuple(values.get(key_of(word), word) for word in words)

    return Trial(moved(trial.hyper), {seed: moved(run) for seed, run in trial.runs.items()})


def _score(ledger: Ledger, trial: Trial, metric: str) -> float | None:
    """Mean score of a trial whose runs have ended; None if one of them has failed."""
    runs = [ledger.result(words) for words in trial.runs.values()]
    return mean_over_seeds([None if run is None else run.metrics.get(metric) for run in runs])
