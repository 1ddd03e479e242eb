"""Dirichlet calibration, with ODIR.  Kull et al., 2019, arXiv:1910.12656.

ODIR: off-diagonal and intercept regularisation. Here the probabilities that are calibrated are
those after temperature scaling, so that a hinge has it too; and the diagonal, which the paper
leaves free, has a standard normal prior around temperature scaling, without which calib that is
classified without an error would make it grow for ever.
"""

from functools import partial
from typing import TypeAlias

import numpy as np
from jaxtyping import Int64

from xent_bench.arrays import LogProbabilities, Target, is_soft
from xent_bench.calibrators.affine import (
    Affine,
    Penalty,
    apply,
    fit_affine,
    fit_inputs,
    fit_roughly,
    probabilities,
    summed_nll,
)
from xent_bench.links import Link
from xent_bench.runs.predictions import Predicted

Folds: TypeAlias = Int64[np.ndarray, " n"]  # the fold of each image of calib

STRENGTHS = tuple(10.0**power for power in range(2, -4, -1))  # tried from the strongest down
FOLDS = 5


def fit(calib: Predicted, link: Link) -> Link:
    """Fit softmax(W x + b), with x the log-probabilities after temperature scaling.

    W, (c, c), and b, (c,), make the NLL summed over calib plus s c (c - 1) |off-diagonal of W|^2 +
    s c |b|^2 + |diagonal of W - 1|^2 / 2 least. The two penalties are in the proportion of
    structured matrix scaling. Their strength s is chosen by cross-validation within calib: of
    STRENGTHS, from the strongest down until the NLL of the images left out rises. ValueError on
    another split, or if there is no optimum.
    """
    preprocess = fit_inputs(calib, link)
    x = preprocess(calib.outputs)
    penalty = _penalty(chosen_strength(x, calib.target), x.shape[1])
    affine = fit_affine(x, calib.target, penalty, "Dirichlet calibration")
    return partial(apply, preprocess=preprocess, affine=affine)


def chosen_strength(x: LogProbabilities, target: Target) -> float:
    """The strength whose maps have the least NLL on the images that they were not fitted to.

    The strongest where calib has a single image, since none can be left out.
    """
    if len(target) == 1:
        return STRENGTHS[0]
    folds = folds_of(target)
    parts = [(folds != fold, folds == fold) for fold in range(folds.max() + 1)]
    best, least = STRENGTHS[0], np.inf
    maps: list[Affine | None] = [None] * len(parts)
    for strength in STRENGTHS:
        maps = [
            fit_roughly(x[fitted], target[fitted], _penalty(strength, x.shape[1]), start)
            for (fitted, _), start in zip(parts, maps, strict=True)
        ]
        nll = sum(
            summed_nll(probabilities(x[left_out], affine), target[left_out])
            for (_, left_out), affine in zip(parts, maps, strict=True)
            if affine is not None
        )
        if nll >= least:
            break
        best, least = strength, nll
    return best


def folds_of(target: Target) -> Folds:
    """The fold of each image: the images of each class are dealt out one by one, in their order.

    An image with a soft label belongs to its likeliest class.
    """
    label = target.argmax(axis=1) if is_soft(target) else target
    folds = np.empty(len(label), dtype=np.int64)
    folds[label.argsort(kind="stable")] = np.arange(len(label)) % min(FOLDS, len(label))
    return folds


def _penalty(strength: float, c: int) -> Penalty:
    return Penalty(strength * c, 0.5, strength * c * (c - 1))
