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
    """Fit to each class's label, 0 or 1 or a soft label's q_k, the rising function of the class's
    probability after temperature scaling that is nearest by squares.

    Calib cannot show that anything is impossible: values stay off 1 by 1/(2(n + 1)), Jeffreys'
    estimate of a rate of which n examples showed none, and off 0 by a share of that for each of
    the other classes.
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
    """Each class mapped on its own, then normalised to sum to 1. May change top-1, and tie it."""
    log_p = tempered(outputs)
    assert log_p is not None
    p = np.stack([each.predict(log_p[:, k]) for k, each in enumerate(maps)], axis=1)
    mapped: LogProbabilities = np.log(p / p.sum(axis=1, keepdims=True))
    return mapped
