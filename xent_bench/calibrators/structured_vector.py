"""Structured vector scaling (SVS).  Berta, Holzmueller, Jordan and Bach, 2025, arXiv:2511.03685.

The penalties are the defaults of the authors' package, probmetrics.
"""

from xent_bench.calibrators.affine import Penalty, fit_map
from xent_bench.links import Link
from xent_bench.runs.predictions import Predicted


def fit(calib: Predicted, link: Link) -> Link:
    """Fit softmax((1 + v) x + b), with x the log-probabilities after temperature scaling.

    v and b, (c,), make the mean NLL on calib plus (c / n)(|v|^2 + |b|^2) least, with c classes and
    n images. So calib without an error keeps them finite, and few images keep them near
    temperature scaling, which is v = b = 0. ValueError on another split, or if there is no optimum.
    """
    c = calib.outputs.shape[1]
    return fit_map(calib, link, Penalty(c, c, None), "structured vector scaling")
