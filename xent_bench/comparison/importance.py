"""How much each hyper-parameter matters: the share of the trials' order that its value predicts.

This is the first-order part of a functional analysis of variance (Hutter et al., 2014), estimated
by what is left out: each trial's rank is predicted from the other trials, by the value of one
hyper-parameter alone, and the share is 1 - (squared errors) / (squared errors of the mean). An
effect that only shows together with another hyper-parameter is not seen. Ranks, not scores: one
trial that failed would be all of the variance, and paused and diverged trials have a rank too.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xent_bench.arrays import Values
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.standing import ranks, standings
from xent_bench.comparison.stats import LEVEL, holm
from xent_bench.comparison.tuned_space import Axis, axes_of

LEAST = 8  # trials of a loss, below which nothing is said
WIDTHS = (0.15, 0.3, 0.6)  # of the kernel, shares of the range; that which predicts best is taken
SHUFFLES = 1999  # of the ranks, for p
RIDGE = 1e-3  # that keeps a line through two trials from being arbitrarily steep


class Importance(NamedTuple):
    """The importance of one hyper-parameter for one loss."""

    loss: str
    key: str
    share: float  # of the variance of the ranks, in [0, 1]
    error: float  # its standard error (jackknife over trials)
    p: float  # of a share as large, if the value did not matter; corrected (Holm)
    trials: int

    @property
    def is_shown(self) -> bool:
        """Whether the hyper-parameter is shown to matter."""
        return self.p < LEVEL


def importances(comparison: Comparison) -> list[Importance]:
    """The importance of each varied hyper-parameter of each loss with LEAST trials.

    p is corrected over all losses and hyper-parameters: if none matters, at most 5 in 100
    comparisons say of one that it does.
    """
    measured: list[Importance] = []
    for row in comparison.rows:
        standing = standings(comparison, row)
        if row.trials < 2 or len(standing) < LEAST:
            continue
        order = np.array(ranks(standing))
        for key, axis in axes_of([entry.trial for entry in standing]).items():
            texts = [entry.trial.varied.get(key) for entry in standing]
            share, error, p = importance(texts, axis, order)
            measured.append(Importance(row.label, key, share, error, p, len(standing)))
    corrected = holm([entry.p for entry in measured])
    return [
        entry._replace(p=p) for entry, p in zip(measured, corrected, strict=True) if p is not None
    ]


def importance(
    texts: Sequence[str | None], axis: Axis | None, order: Values
) -> tuple[float, float, float]:
    """Share, its standard error, and p of one hyper-parameter.

    `texts` are the values of n trials, `axis` is None for words, and `order` (n,) are their ranks.
    p is that of a permutation test with the largest share over WIDTHS, as it is taken here.
    """
    n = len(order)
    predictors = _predictors(texts, axis)
    share = _share(predictors, order[None])[0]
    p = 1.0  # of a share that is none, whatever the shuffled ranks give
    if share > 0:
        shuffled = np.random.default_rng(0).permuted(np.tile(order, (SHUFFLES, 1)), axis=1)
        as_large = np.count_nonzero(_share(predictors, shuffled) >= share - 1e-12)
        p = (1 + as_large) / (1 + SHUFFLES)
    without = []
    for place in range(n):
        kept = [other for other in range(n) if other != place]
        left = _predictors([texts[other] for other in kept], axis)
        without.append(_share(left, order[kept][None])[0])
    error = np.sqrt((n - 1) * np.var(without))
    return max(0.0, float(share)), float(error), p


def _share(predictors: Sequence[Values], orders: Values) -> Values:
    """The largest share over the predictors, for each row of `orders` (m, n)."""
    n = orders.shape[1]
    centred = orders - orders.mean(axis=1, keepdims=True)
    total = (centred**2).sum(axis=1) * (n / (n - 1)) ** 2  # of the mean of the other trials
    errors = [((orders - orders @ predictor.T) ** 2).sum(axis=1) for predictor in predictors]
    with np.errstate(invalid="ignore", divide="ignore"):  # all trials may have one rank
        shares = 1 - np.min(errors, axis=0) / total
    return np.where(total > 0, shares, 0.0)


def _predictors(texts: Sequence[str | None], axis: Axis | None) -> list[Values]:
    """Matrices (n, n) that predict each rank from those of the other trials; rows sum to 1."""
    if axis is None:
        return [_same_word(texts)]
    places = np.array([axis.place(float(text)) for text in texts if text is not None])
    return [lines(places, places, width, leave_out=True) for width in WIDTHS]


def _same_word(texts: Sequence[str | None]) -> Values:
    """Predict by the mean of the other trials with the same word, or of all others."""
    n = len(texts)
    same = np.array([[ours == theirs for theirs in texts] for ours in texts], dtype=float)
    np.fill_diagonal(same, 0.0)
    alone = same.sum(axis=1) == 0
    same[alone] = 1 - np.eye(n)[alone]
    return np.asarray(same / same.sum(axis=1, keepdims=True))


def lines(places: Values, at: Values, width: float, *, leave_out: bool = False) -> Values:
    """Matrix (len(at), len(places)) that predicts by a line through the near trials.

    Trials are weighted by a Gaussian of this width (local linear regression; Fan, 1992). With
    `leave_out`, `at` are the same places, and each is predicted without itself.
    """
    gaps = places[None, :] - at[:, None]
    weights = np.exp(-0.5 * (gaps / width) ** 2)
    if leave_out:
        np.fill_diagonal(weights, 0.0)
    weights /= weights.sum(axis=1, keepdims=True)
    middle = (weights * gaps).sum(axis=1, keepdims=True)
    spread = (weights * (gaps - middle) ** 2).sum(axis=1, keepdims=True)
    return np.asarray(weights * (1 - middle * (gaps - middle) / (spread + RIDGE)))
