"""Scores on val against one hyper-parameter: the trials, and a curve with a band through them."""

import math
from typing import NamedTuple

import numpy as np

from xent_bench.arrays import Values
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.importance import lines
from xent_bench.comparison.row import Row
from xent_bench.comparison.spent import State
from xent_bench.comparison.standing import Standing, standings
from xent_bench.comparison.trials import Trial, number
from xent_bench.comparison.tuned_space import MANY, Axis, axes_of

LEAST = 6  # trials trained to the end, below which there is no curve through them
WIDTH = 0.15  # of the Gaussian that weights near trials, a share of the range
POINTS = 41  # of a curve


class Point(NamedTuple):
    """One trial: its value of the hyper-parameter, and its score."""

    value: float
    score: float
    trial: Trial
    state: State  # finished, or paused: then the score is that of the epoch of the pause


class Marginal(NamedTuple):
    """The scores of one loss against one hyper-parameter.

    The curve is the mean of the trials near a value, whatever their other hyper-parameters; the
    band is their standard deviation, not an error of the mean. Both are empty below LEAST trials.
    """

    loss: str
    axis: Axis
    points: list[Point]  # in the order of their values
    values: list[float]
    means: list[float]
    deviations: list[float]


def marginals(comparison: Comparison) -> dict[str, list[Marginal]]:
    """The marginals of all tuned losses, by the key of a hyper-parameter that is a number.

    Only hyper-parameters are taken of which a loss has more than MANY values: where values recur,
    as in a grid, the best trial at each value says more.
    """
    by_key: dict[str, list[Marginal]] = {}
    for row in comparison.rows:
        standing = standings(comparison, row)
        for key, axis in axes_of([entry.trial for entry in standing]).items():
            if axis is not None and is_drawn_key(comparison, key):
                by_key.setdefault(key, []).append(_marginal(row, key, axis, standing))
    return {key: drawn for key, drawn in by_key.items() if any(line.points for line in drawn)}


def is_drawn_key(comparison: Comparison, key: str) -> bool:
    """Whether so many values of a hyper-parameter were tried that none is expected to recur."""
    values: dict[str, set[str]] = {}
    for trial in comparison.trials:
        if key in trial.varied:
            values.setdefault(trial.loss, set()).add(trial.varied[key])
    drawn = any(trial.is_drawn for trial in comparison.trials if key in trial.varied)
    return any(len(of_loss) > MANY or (drawn and len(of_loss) > 2) for of_loss in values.values())


def _marginal(row: Row, key: str, axis: Axis, standing: list[Standing]) -> Marginal:
    points = [
        Point(value, entry.score, entry.trial, entry.state)
        for entry in standing
        if entry.score is not None and math.isfinite(entry.score)
        if (value := number(entry.trial.varied.get(key))) is not None
    ]
    points.sort(key=lambda point: point.value)
    finished = [point for point in points if point.state is State.FINISHED]
    if len(finished) < LEAST:
        return Marginal(row.label, axis, points, [], [], [])
    places = np.array([axis.place(point.value) for point in finished])
    scores = np.array([point.score for point in finished])
    at = np.linspace(places.min(), places.max(), POINTS)
    means, deviations = _through(places, scores, at)
    values = [axis.value(place) for place in at.tolist()]
    return Marginal(row.label, axis, points, values, means.tolist(), deviations.tolist())


def _through(places: Values, scores: Values, at: Values) -> tuple[Values, Values]:
    """Local mean and standard deviation of the scores at these places, all (m,)."""
    means = lines(places, at, WIDTH) @ scores
    errors = scores - lines(places, places, WIDTH) @ scores
    weights = np.exp(-0.5 * ((places[None, :] - at[:, None]) / WIDTH) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    return means, np.sqrt(weights @ errors**2)
