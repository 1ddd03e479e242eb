"""Detection of foreign images: how well a certainty tells test's images from images of another set.

A test image should be the more certain one. Equal certainties are taken together: each threshold
accepts all or none of them, as scikit-learn does.
"""

from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from xent_bench.arrays import Values

Others: TypeAlias = Float[np.ndarray, " m"]  # certainties of the other images
Counts: TypeAlias = Float[np.ndarray, " thresholds"]

ACCEPTED = 0.95  # the share of test's images that the threshold of `fpr95_test` accepts


class Detection(NamedTuple):
    """Scores of one certainty, each in [0, 1]; the names say which images are the positive ones."""

    auroc: float  # P(a test image is more certain than a foreign one), a tie counts half
    aupr_test: float  # average precision: sum of precision times the step of recall
    aupr_foreign: float  # the same with the sign of the certainty turned round
    fpr95_test: float  # share of foreign images accepted where 95 % of test's images are


def detection(test: Values, foreign: Others) -> Detection:
    """Compare the certainties of test's images (n,) with those of foreign images (m,)."""
    accepted_test, accepted_foreign = _accepted(test, foreign)
    recall = np.append(0, accepted_test) / len(test)
    false_positives = np.append(0, accepted_foreign) / len(foreign)
    auroc = float(np.trapezoid(recall, false_positives))
    # counts, and not shares: 0.95 is no binary fraction
    enough = int((accepted_test >= ACCEPTED * len(test) - 1e-9).argmax())
    return Detection(
        auroc,
        _average_precision(accepted_test, accepted_foreign),
        _average_precision(*_accepted(-foreign, -test)),
        float(accepted_foreign[enough] / len(foreign)),
    )


def _accepted(positive: Values, negative: Others) -> tuple[Counts, Counts]:
    """The number of each kind at or above each distinct value, from the largest value down."""
    values = np.unique(np.concatenate((positive, negative)))[::-1]
    counts = (
        len(side) - np.searchsorted(np.sort(side), values, side="left")
        for side in (positive, negative)
    )
    above_positive, above_negative = (count.astype(np.float64) for count in counts)
    return above_positive, above_negative


def _average_precision(true: Counts, false: Counts) -> float:
    precision = true / (true + false)
    steps = np.diff(true, prepend=0) / true[-1]
    return float(precision @ steps)
