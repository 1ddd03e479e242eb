"""Structured matrix scaling (SMS).  Berta, Holzmueller, Jordan and Bach, 2025, arXiv:2511.03685.

The penalties are the defaults of the authors' package, probmetrics.
"""

from xent_bench.calibrators.affine import Penalty, fit_map
from xent_bench.links import Link
from xent_bench.runs.predictions import Predicted


def fit(calib: Predicted, link: Link) -> Link:
    """Fit softmax(x + v x + M x + b), with x the log-probabilities after temperature scaling.

    v and b, (c,), and M, (c, c) with a diagonal of 0, make the mean NLL on calib plus
    (c / n)(|v|^2 + |b|^2) + (c (c - 1) / n)|M|^2 least, with c classes and n images: what
    there is more of is held tighter. v = M = b = 0 is temperature scaling. ValueError on another
    split, or if there is no optimum.
    """
    c = calib.outputs.shape[1]
    return fit_map(calib, link, Penalty(c, c, c * (c - 1)), "structured matrix scaling")
