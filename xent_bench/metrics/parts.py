"""Parts of proper scores: what calibration can mend, and what is left.

NLL and Brier score are each a calibration part, which a map of the probabilities can take away, and
a refinement part, the least that such maps leave.  Broecker, 2009, doi:10.1002/qj.456. The
refinement is estimated by the score after temperature scaling, as by Berta, Holzmueller, Jordan and
Bach, 2025, arXiv:2501.19195; it has no key of its own, being test_ts/nll and test_ts/brier.
"""

import numpy as np

from xent_bench.arrays import Values
from xent_bench.metrics.examples import Examples


def calibration_parts(raw: Examples, scaled: Examples) -> dict[str, float]:
    """nll_calibration and brier_calibration: the mean over images of score(raw) - score(scaled).

    `scaled` are the same images after temperature scaling, with T fitted on calib. T is then
    independent of these images, and scaling only one of all maps, so on average over splits the
    number is at most the calibration part. It is below 0 if scaling does harm. Empty without
    probabilities as trained.
    """
    differences = _differences(raw, scaled)
    return {name: float(values.mean()) for name, values in differences.items()}


def calibration_part_errors(raw: Examples, scaled: Examples) -> dict[str, float]:
    """Standard errors of both, s / sqrt(n) of the paired differences, for T as it was fitted."""
    n = len(raw.target)
    return {
        name: float(values.std(ddof=1) / n**0.5)
        for name, values in _differences(raw, scaled).items()
        if n > 1 and np.isfinite(values).all()
    }


def _differences(raw: Examples, scaled: Examples) -> dict[str, Values]:
    before, after = raw.probabilistic, scaled.probabilistic
    if before is None or after is None:
        return {}
    return {
        "nll_calibration": before.nll - after.nll,
        "brier_calibration": before.brier - after.brier,
    }
