"""Isotonic regression, one class against the rest.  Zadrozny and Elkan, 2002."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from sklearn.isotonic import IsotonicRegression

from xent_bench.arrays import LogProbabilities, Outputs, is_soft, normalised
from xent_bench.calibrators import temperature
from xent_bench.links import Link
from xent_bench.runs.predictions import Predicted


def fit(calib: Predicted, link: Link) -> Link:
    """Fit for each class a rising function from its probability to its label, by least squares.

    The probability is that after temperature scaling; the label is 0 or 1, or q_k if labels are
    soft. Calib cannot show that anything is impossible, so values keep a distance to 1 of
    1/(2(n + 1)), Jeffreys' estimate of the rate of an event that n examples never showed, and to 0
    of that number over c - 1.
    """
    tempered = temperature.fit(calib, link)
    log_p = tempered(calib.outputs.astype(np.float64))
    assert log_p is not None
    n, c = log_p.shape
    doubt = 1 / (2 * (n + 1))
    target = calib.target
    labels = normalised(target) if is_soft(target) else target[:, None] == np.arange(c)
    maps = [
        IsotonicRegression(y_min=doubt / (c - 1), y_max=1 - doubt, out_of_bounds="clip").fit(
            log_p[:, k], labels[:, k]
        )
        for k in range(c)
    ]
    return partial(apply, tempered=tempered, maps=maps)


def apply(
    outputs: Outputs, *, tempered: Link, maps: Sequence[IsotonicRegression]
) -> LogProbabilities:
    """Map the probability of each class by its own function, then normalise to sum to 1.

    This may change the order of the classes, so top-1, and may let classes tie.
    """
    log_p = tempered(outputs)
    assert log_p is not None
    p = np.stack([rising.predict(log_p[:, k]) for k, rising in enumerate(maps)], axis=1)
    mapped: LogProbabilities = np.log(p / p.sum(axis=1, keepdims=True))
    return mapped
