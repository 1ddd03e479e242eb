"""Scores as if test had the class frequencies of train: test images weighted by their class.

An image of class y weighs pi_train(y) / pi_test(y). On a balanced test set the usual scores say
what a net is worth where all classes are as frequent; these say it where they are as in train.
"""

import numpy as np
from jaxtyping import Int64

from xent_bench.arrays import Values, is_soft
from xent_bench.metrics.accuracy import PerClass
from xent_bench.metrics.calibration import BINS
from xent_bench.metrics.class_sizes import class_counts
from xent_bench.metrics.examples import Examples
from xent_bench.metrics.random_draws import SEED
from xent_bench.metrics.uncertainty import RESAMPLES

SUFFIX = "_train_prior"


def under_train_prior(examples: Examples, train_counts: PerClass) -> dict[str, float]:
    """Weighted means of top1, nll and brier, and the ECE of the weighted images.

    Classes without an image in test count for nothing. Empty for soft labels, which are of no one
    class, and where no class of test is in train.
    """
    weights = weights_of(examples, train_counts)
    if weights is None:
        return {}
    scores = {
        f"{name}{SUFFIX}": float(weights @ values / weights.sum())
        for name, values in _means(examples).items()
    }
    if examples.probabilistic is not None:
        gap = examples.probabilistic.confidence - examples.top1
        scores[f"ece{SUFFIX}"] = _ece(gap, _bins(examples), weights)
    return scores


def under_train_prior_errors(examples: Examples, train_counts: PerClass) -> dict[str, float]:
    """Standard errors over test images: of the means directly, of the ECE from resamples.

    That of a mean is the root of sum_k w_k^2 s_k^2 / n_k, with w_k the share of class k in train,
    s_k^2 the sample variance in the class and n_k its images in test; none if a class has only one.
    """
    weights = weights_of(examples, train_counts)
    if weights is None or is_soft(examples.target):
        return {}
    counts = class_counts(examples.target, len(train_counts))
    seen = counts > 0
    errors: dict[str, float] = {}
    if counts[seen].min() > 1:
        shares = np.where(seen, train_counts, 0) / train_counts[seen].sum()
        errors = {
            f"{name}{SUFFIX}": _error(values, examples.target, counts, shares)
            for name, values in _means(examples).items()
            if np.isfinite(values).all()
        }
    if examples.probabilistic is not None:
        errors[f"ece{SUFFIX}"] = _ece_error(examples, weights)
    return errors


def weights_of(examples: Examples, train_counts: PerClass) -> Values | None:
    """pi_train(y) / pi_test(y) of each image, up to a factor; None where it is not defined."""
    target = examples.target
    if is_soft(target):
        return None
    weights: Values = (train_counts / np.maximum(class_counts(target, len(train_counts)), 1))[
        target
    ]
    return weights if weights.any() else None


def _means(examples: Examples) -> dict[str, Values]:
    values = {"top1": examples.top1}
    if examples.probabilistic is not None:
        values |= {"nll": examples.probabilistic.nll, "brier": examples.probabilistic.brier}
    return values


def _error(values: Values, target: np.ndarray, counts: PerClass, shares: PerClass) -> float:
    c, seen = len(counts), np.maximum(counts, 1)
    mean = np.bincount(target, values, c) / seen
    variance = np.bincount(target, (values - mean[target]) ** 2, c) / np.maximum(counts - 1, 1)
    return float(np.sqrt((shares**2 * variance / seen).sum()))


def _bins(examples: Examples) -> Int64[np.ndarray, " n"]:
    """The bin of each image by its confidence, of equal width and right-closed."""
    assert examples.probabilistic is not None
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    bins: Int64[np.ndarray, " n"] = np.searchsorted(edges, examples.probabilistic.confidence)
    return bins


def _ece(gap: Values, bins: Int64[np.ndarray, " n"], weights: Values) -> float:
    """sum_b |sum over bin b of w (confidence - correct)| / sum w."""
    return float(np.abs(np.bincount(bins, weights * gap, BINS)).sum() / weights.sum())


def _ece_error(examples: Examples, weights: Values) -> float:
    """Spread of the ECE over resamples of the test images (Efron, 1979)."""
    assert examples.probabilistic is not None
    rng = np.random.default_rng(SEED)
    gap, bins = examples.probabilistic.confidence - examples.top1, _bins(examples)
    n = len(gap)
    resampled = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(n, size=n)
        resampled.append(_ece(gap[drawn], bins[drawn], weights[drawn]))
    return float(np.std(resampled, ddof=1))
