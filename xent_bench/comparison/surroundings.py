"""The trials next to a chosen one: whether the choice is flat, so that it matters little, or sharp.

Nothing is tested here: the scores are those that chose, by which the chosen trial is too good.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.row import Row
from xent_bench.comparison.spent import State, state_of
from xent_bench.comparison.trials import Trial, number, seed_of
from xent_bench.comparison.tuned_space import axes_of, distance
from xent_bench.comparison.tuning import mean_cost
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.runs.begun import paused_epoch

MOST = 4  # neighbours of a trial
FLAT, SHARP, UNEVEN, UNKNOWN = "flat", "sharp", "uneven", "unknown"


class Neighbour(NamedTuple):
    """A trial near the chosen one."""

    trial: Trial
    distance: float  # Euclidean, in the space in which each range tried is [0, 1]
    score: float | None  # mean over the seeds of the search; None if it was not trained to the end
    loss_of_score: float | None  # by how much the chosen trial is better; None as `score`
    note: str  # of a trial that was not trained to the end: how it ended


class Surroundings(NamedTuple):
    """A loss's chosen trial, its score, and the trials nearest to it."""

    row: Row
    score: float
    neighbours: list[Neighbour]
    margin: float | None  # largest difference that counts as none, in the metric's own unit
    word: str  # flat, sharp, uneven or unknown

    @property
    def compared(self) -> int:
        """Number of neighbours that can be compared with the chosen trial."""
        return sum(_gap(neighbour) is not None for neighbour in self.neighbours)


def surroundings(comparison: Comparison) -> list[Surroundings]:
    """Look at the trials around the chosen one of each loss that was tuned."""
    return [
        _around(comparison, row)
        for row in comparison.rows
        if row.trials > 1 and row.choice.candidates and row.trial.score is not None
    ]


def margin_of(comparison: Comparison) -> float | None:
    """The largest difference in the metric that chose that counts as a tie; None if it has none."""
    by = yardstick_of(comparison)
    return None if by is None else by.tie


def yardstick_of(comparison: Comparison) -> Yardstick | None:
    """The yardstick on test of the metric that chose on val."""
    metric = comparison.options.choose_by.partition("/")[2]
    return by_key(comparison.options.yardsticks).get(f"test/{metric}")


def _around(comparison: Comparison, row: Row) -> Surroundings:
    choose_by = comparison.options.choose_by
    candidates = row.choice.candidates
    seeds = set.intersection(*(trial.seeds for trial in candidates))
    comparable = set(map(id, candidates))
    best = mean_cost(row.trial, seeds, choose_by)
    neighbours = []
    for trial, far in nearest(row.trial, [t for t in comparison.trials if t.loss == row.label]):
        cost = mean_cost(trial, seeds, choose_by) if id(trial) in comparable else None
        score = None if cost is None else fmean(_scores(trial, seeds, choose_by))
        gap = None if cost is None else cost - best
        note = "" if id(trial) in comparable else _note(trial)
        neighbours.append(Neighbour(trial, far, score, gap, note))
    margin = margin_of(comparison)
    score = fmean(_scores(row.trial, seeds, choose_by))
    return Surroundings(row, score, neighbours, margin, _word(neighbours, margin))


def _scores(trial: Trial, seeds: set[int], key: str) -> list[float]:
    return [run.metrics[key] for run in trial.runs if seed_of(run) in seeds]


def nearest(chosen: Trial, trials: Sequence[Trial]) -> list[tuple[Trial, float]]:
    """The trials nearest to the chosen one, with their distances, the nearest first.

    With one number that varies they are the next smaller and the next larger value; otherwise two
    for each hyper-parameter, MOST at most.
    """
    axes = axes_of(trials)
    others = [(trial, distance(chosen, trial, axes)) for trial in trials if trial is not chosen]
    others.sort(key=lambda pair: pair[1])
    if len(axes) != 1 or None in axes.values():
        return others[: min(MOST, 2 * max(1, len(axes)))]
    (key,) = axes
    here = number(chosen.varied.get(key)) or 0.0
    sides: dict[bool, tuple[Trial, float]] = {}
    for trial, far in others:
        sides.setdefault((number(trial.varied.get(key)) or 0.0) > here, (trial, far))
    return sorted(sides.values(), key=lambda pair: pair[1])


def _note(trial: Trial) -> str:
    """How a trial ended that cannot be compared: 'diverged', or 'paused at 3'."""
    state = state_of(trial)
    if state is State.PAUSED:
        return f"paused at {min(filter(None, map(paused_epoch, trial.unfinished)))}"
    return "fewer seeds" if state is State.FINISHED else state.value


def _word(neighbours: Sequence[Neighbour], margin: float | None) -> str:
    """Say whether the neighbours are worse by more than the margin: none, all or some of them."""
    if margin is None:
        return UNKNOWN
    worse = [gap > margin for gap in map(_gap, neighbours) if gap is not None]
    if not worse:
        return UNKNOWN
    return SHARP if all(worse) else UNEVEN if any(worse) else FLAT


def _gap(neighbour: Neighbour) -> float | None:
    """How much better the chosen trial is; infinite where the neighbour diverged."""
    return math.inf if neighbour.note == State.DIVERGED.value else neighbour.loss_of_score
