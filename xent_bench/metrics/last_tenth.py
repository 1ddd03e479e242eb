"""How far val/nll fell in the last tenth of the epochs, and the noise of that fall."""

import math
from collections.abc import Mapping
from statistics import fmean

from xent_bench.metrics.reported import FALL, FREEDOM, NOISE, REACHED

EFFICIENCY = 100 / 231  # degrees of freedom per point of a variance from third differences


def last_tenth(curves: Mapping[int, Mapping[str, float]]) -> dict[str, float]:
    """Measure how far val/nll fell in the last tenth of the epochs (one at least), and its noise.

    `curves` holds the metrics of each epoch. Noise is the standard deviation of one point about a
    smooth course, from third differences d at the distance of that tenth, over the last half of the
    curve (three such differences at least, where there are so many): the root of mean d^2 / 20.
    (Second differences, as von Neumann's of 1941, would take the bend of a falling curve for
    noise.) A loss without probabilities has no val/nll: then val/loss, in its own unit. Empty for a
    single epoch.
    """
    steps = [curves[step] for step in sorted(curves)]
    key = "val/nll" if all("val/nll" in step for step in steps) else "val/loss"
    values = [step[key] for step in steps if key in step]
    if len(values) < max(2, len(steps)) or not all(map(math.isfinite, values)):
        return {}
    back = max(1, round(len(values) / 10))
    metrics = {FALL: values[-1 - back] - values[-1], REACHED: values[-1]}
    late = values[-max(3 * back + 3, len(values) // 2) :]
    shifted = (late[place * back :] for place in range(4))
    bends = [a - 3 * b + 3 * c - d for a, b, c, d in zip(*shifted, strict=False)]
    if bends:
        metrics[NOISE] = math.sqrt(fmean(bend**2 for bend in bends) / 20)
        metrics[FREEDOM] = EFFICIENCY * len(bends) / back
    return metrics
