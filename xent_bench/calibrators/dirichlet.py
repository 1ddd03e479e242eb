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

from xent_bench.arrays import LogProbabilities, Target, is_soft, normalised
from xent_bench.calibrators.affine import (
    Affine,
    Inputs,
    Penalty,
    apply,
    fit_affine,
    fit_inputs,
    probabilities,
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
    strength = chosen_strength(x, calib.target)
    return fit_with(preprocess, x, calib.target, strength)


def fit_with(preprocess: Inputs, x: LogProbabilities, target: Target, strength: float) -> Link:
    """Fit W and b with a given strength."""
    affine = _fit(x, target, strength, name="Dirichlet calibration")
    return partial(apply, preprocess=preprocess, affine=affine)


def chosen_strength(x: LogProbabilities, target: Target) -> float:
    """The strength whose maps have the least NLL on the images that they were not fitted to.

    A single image leaves none out: the strongest.
    """
    if len(target) == 1:
        return STRENGTHS[0]
    folds = folds_of(target)
    parts = [(folds != fold, folds == fold) for fold in range(folds.max() + 1)]
    best, least = STRENGTHS[0], np.inf
    maps: list[Affine | None] = [None] * len(parts)
    for strength in STRENGTHS:
        maps = [
            _fit(x[fitted], target[fitted], strength, start=start)
            for (fitted, _), start in zip(parts, maps, strict=True)
        ]
        nll = sum(
            _nll(x[left_out], target[left_out], affine)
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


def _fit(
    x: LogProbabilities,
    target: Target,
    strength: float,
    *,
    name: str = "",
    start: Affine | None = None,
) -> Affine:
    c = x.shape[1]
    penalty = Penalty(strength * c, 0.5, strength * c * (c - 1))
    return fit_affine(x, target, penalty, name, start)


def _nll(x: LogProbabilities, target: Target, affine: Affine) -> float:
    log_p = probabilities(x, affine)
    if is_soft(target):
        return -float(np.einsum("ij,ij->", normalised(target), log_p))
    return -float(log_p[np.arange(len(target)), target].sum())
