"""One class for each image of calib, where labels are soft: drawn from its label, once."""

import numpy as np

from xent_bench.arrays import Labels, Target, is_divided, is_soft, normalised


def one_class_each(target: Target) -> Labels:
    """The class of each image: its label, or one drawn from its soft label, always the same.

    With drawn classes the guarantees on calib stay exact: an image with its drawn class is a draw
    of image and class together, as is a new image with the answer of one person.
    """
    if not is_soft(target):
        return target
    ends = normalised(target).cumsum(axis=1)
    draws = np.random.default_rng(0).random((len(target), 1)) * ends[:, -1:]
    labels: Labels = (draws >= ends).sum(axis=1).astype(np.int64)
    return labels


def draw_lines(target: Target) -> list[str]:
    """A sentence that says that classes were drawn, where labels are divided; else nothing."""
    if not is_divided(target):
        return []
    return [
        "Labels of calib are divided among classes. One class was drawn from each: what is said "
        "of calib is said of the vote of one person who is drawn at random."
    ]
