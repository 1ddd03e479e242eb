"""Accuracy class by class: the recall of each, of frequent and of rare ones, and of the worst."""

from typing import NamedTuple

import numpy as np

from xent_bench.arrays import is_soft
from xent_bench.metrics.accuracy import PerClass
from xent_bench.metrics.class_sizes import GROUPS, class_counts, groups_of
from xent_bench.metrics.examples import Examples


class Recalls(NamedTuple):
    """The recall of each class: the share of its images that are answered rightly.

    For soft labels q it is sum_i q_ik h_ik / sum_i q_ik, with h_ik the probability that k is
    answered. NaN for a class without an image in test.
    """

    recall: PerClass
    error: PerClass  # standard error; NaN for soft labels, and below two images
    images: PerClass  # in test; for soft labels the sum of the q_k


def recalls(examples: Examples, classes: int) -> Recalls:
    """Compute the recall of each class, with its standard error s_k / sqrt(n_k)."""
    target = examples.target
    images = class_counts(target, classes)
    if is_soft(target):
        assert examples.soft is not None
        recall = _ratio(examples.soft.class_hits.sums, images)
        return Recalls(recall, np.full(classes, np.nan), images)
    recall = _ratio(np.bincount(target, examples.top1, classes), images)
    squares = _ratio(np.bincount(target, examples.top1**2, classes), images)
    variance = np.where(images > 1, np.maximum(squares - recall**2, 0), np.nan)
    return Recalls(recall, np.sqrt(_ratio(variance, images - 1)), images)


def by_class_size(examples: Examples, train_counts: PerClass) -> dict[str, float]:
    """Mean recall of the classes with many, medium and few images in train; and the worst recall.

    A group is a third of the classes (`groups_of`). Classes without an image in test are left out,
    and a group without another class.
    """
    recall = recalls(examples, len(train_counts)).recall
    means = {
        f"top1_{group}": float(recall[members].mean())
        for group, members in _members(train_counts, ~np.isnan(recall)).items()
    }
    return means | {"worst_class_top1": float(np.nanmin(recall))}


def by_class_size_errors(examples: Examples, train_counts: PerClass) -> dict[str, float]:
    """Standard errors of the groups' means over test images: root of sum_k s_k^2 / n_k, over m.

    m is the number of the group's classes. The worst class has none, as resampling misjudges a
    minimum; nor has a group with a class of one image, nor soft labels.
    """
    recall, error, _ = recalls(examples, len(train_counts))
    errors = {
        f"top1_{group}": float(np.sqrt((error[members] ** 2).sum()) / members.sum())
        for group, members in _members(train_counts, ~np.isnan(recall)).items()
    }
    return {name: value for name, value in errors.items() if np.isfinite(value)}


def _members(train_counts: PerClass, is_seen: np.ndarray) -> dict[str, np.ndarray]:
    """Whether a class is in a group and in test, for each group that has a class."""
    groups = np.array(groups_of(train_counts))
    members = {group: (groups == group) & is_seen for group in GROUPS}
    return {group: chosen for group, chosen in members.items() if chosen.any()}


def _ratio(sums: PerClass, counts: PerClass) -> PerClass:
    """sums / counts, NaN where there is no count."""
    quotient: PerClass = np.full(len(counts), np.nan)
    np.divide(sums, counts, out=quotient, where=counts > 0)
    return quotient
