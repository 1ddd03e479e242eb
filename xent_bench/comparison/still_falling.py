"""Test whether the loss on val still fell when training ended."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from scipy.special import stdtr

from xent_bench.comparison.stats import LEVEL

LAST_TENTH = FALL, NOISE, FREEDOM, REACHED = tuple(
    f"val_last_tenth/{name}" for name in ("fall", "noise", "degrees_of_freedom", "value")
)
LEAST = 1e-3  # of the value: a smaller fall is none, however surely it is there
EFFICIENCY = 100 / 231  # degrees of freedom of a variance from third differences, a point each


def last_tenth(curves: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Measure how far val/nll fell in the last tenth of the epochs (one at least), and its noise.

    Noise is the standard deviation of one point about a smooth course, from third differences d at
    the distance of that tenth, over the last half of the curve (three such differences at least,
    where there are so many): the root of mean d^2 / 20. (Second differences, as von Neumann's of
    1941, would take the bend of a falling curve for noise.) A loss without probabilities has no
    val/nll: then val/loss, in its own unit. Empty for a single epoch.
    """
    steps = [curves[step] for step in sorted(curves)]
    key = "val/nll" if all("val/nll" in step for step in steps) else "val/loss"
    values = [step[key] for step in steps if key in step]
    if len(values) < max(2, len(steps)) or not all(map(math.isfinite, values)):
        return {}
    back = max(1, round(len(values) / 10))
    known = {FALL: values[-1 - back] - values[-1], REACHED: values[-1]}
    late = values[-max(3 * back + 3, len(values) // 2) :]
    shifted = (late[place * back :] for place in range(4))
    bends = [a - 3 * b + 3 * c - d for a, b, c, d in zip(*shifted, strict=False)]
    if bends:
        known[NOISE] = math.sqrt(fmean(bend**2 for bend in bends) / 20)
        known[FREEDOM] = EFFICIENCY * len(bends) / back
    return known


def still_falling(runs: Sequence[Mapping[str, float]], tests: int = 1) -> float | None:
    """The mean fall of a loss's runs if it is significant; None if it is not.

    `runs` holds the metrics of each run, those of `last_tenth` among them. The test is Student's,
    one-sided at LEVEL / tests: of the falls over the runs, or for a single run of its fall against
    the noise within its curve. If none of `tests` losses still falls, at most 5 in 100 comparisons
    name one of them.
    """
    falls = [run[FALL] for run in runs if FALL in run]
    if not falls or len(falls) < len(runs):
        return None
    mean = fmean(falls)
    if mean < LEAST * abs(fmean(run[REACHED] for run in runs)):
        return None
    p = _p_over_runs(falls) if len(falls) > 1 else _p_within(runs[0])
    return mean if tests * p < LEVEL else None


def _p_over_runs(falls: Sequence[float]) -> float:
    """One-sided p of Student's t test of the falls: small if their mean is surely above 0."""
    spread = stdev(falls)
    if spread == 0:
        return 1.0
    return float(stdtr(len(falls) - 1, -fmean(falls) / spread * math.sqrt(len(falls))))


def _p_within(run: Mapping[str, float]) -> float:
    """One-sided p of a run's fall against the noise of its curve.

    The difference of two points has twice the variance of one point's noise.
    """
    error = math.sqrt(2) * run.get(NOISE, 0.0)
    return float(stdtr(run[FREEDOM], -run[FALL] / error)) if error else 1.0
