"""The order of a loss's trials by val, those among them that were paused or diverged."""

import math
from statistics import fmean
from typing import NamedTuple, TypeAlias

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.row import Row
from xent_bench.comparison.spent import State, epochs_trained, last_score, state_of
from xent_bench.comparison.trials import Trial, shared_seeds
from xent_bench.comparison.tuning import mean_cost, sign_of

Place: TypeAlias = tuple[float, float, float]  # sort key; the smallest is the best


class Standing(NamedTuple):
    """A trial and its place among those of its loss."""

    trial: Trial
    state: State
    place: Place  # state, epochs that are missing, score with the sign that makes less better
    score: float | None  # on val after the last epoch trained, mean over seeds; None if diverged


def standings(comparison: Comparison, row: Row) -> list[Standing]:
    """The trials of a loss with their places.

    Trials that were trained to the end come first, by their score over the seeds that all of them
    have. Then come those that were paused, the later the better, by their score there; last those
    that diverged, which are all equal. Others, without a result, are left out.
    """
    choose_by = comparison.options.choose_by
    candidates = row.choice.candidates
    seeds = shared_seeds(candidates)
    comparable = set(map(id, candidates))
    standing = []
    for trial in comparison.trials:
        state = state_of(trial)
        if trial.loss != row.label:
            continue
        if id(trial) in comparable:
            cost = mean_cost(trial, seeds, choose_by)
            score = sign_of(choose_by) * cost
            standing.append(Standing(trial, State.FINISHED, (0.0, 0.0, cost), score))
        elif state is State.PAUSED:
            standing.append(_paused(trial, choose_by))
        elif state is State.DIVERGED:
            standing.append(Standing(trial, state, (2.0, 0.0, 0.0), None))
    return standing


def _paused(trial: Trial, key: str) -> Standing:
    """The standing of a trial that was paused, by the mean over its seeds."""
    epochs = min(epochs_trained(run) or 0 for run in trial.unfinished)
    scores = [last_score(run, key) for run in trial.unfinished]
    known = [score for score in scores if score is not None and math.isfinite(score)]
    if len(known) < len(scores):
        return Standing(trial, State.PAUSED, (1.0, -epochs, math.inf), None)
    score = fmean(known)
    return Standing(trial, State.PAUSED, (1.0, -epochs, sign_of(key) * score), score)


def ranks(standing: list[Standing]) -> list[float]:
    """The rank of each trial, from 1 for the best; equal ones have the mean of their ranks."""
    places = [entry.place for entry in standing]
    ordered = sorted(places)
    return [ordered.index(place) + (ordered.count(place) + 1) / 2 for place in places]
