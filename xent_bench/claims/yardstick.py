"""The yardstick of any metric that a part of a claim names, with the margin of that part."""

import re

from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.config.nearest import nearest
from xent_bench.metrics.reported import LARGER, METRICS, SMALLER

BELOW = {"test": "raw", "test_ts": "scaled", "test_pc": "corrected"}  # by the prefix of a key
FOREIGN = re.compile(r"foreign/(\w+|\*)/(auroc|aupr_test|aupr_foreign|fpr95_test)_(\w+)")


def check_metric(key: str) -> None:
    """Raise a ValueError unless a claim can be judged by this metric on test."""
    prefix, _, name = key.partition("/")
    metric = METRICS.get(name)
    judged = metric is not None and metric.better is not None and prefix in metric.prefixes
    if not (FOREIGN.fullmatch(key) or (prefix in BELOW and judged)):
        names = [metric.name for metric in METRICS.values() if metric.better is not None]
        raise ValueError(
            f"{key}: no metric on test that has a better direction; expected "
            f"{', '.join(f'{prefix}/NAME' for prefix in BELOW)} or foreign/*/auroc_confidence; "
            f"of NAME {nearest(name, names)}"
        )


def yardstick_of(key: str, margin: float | None) -> Yardstick:
    """The yardstick of a metric; `margin` is that of a tie, in the unit that is shown.

    Without a margin it is that of the reports, or half a unit of the last digit that is shown.
    """
    by = by_key().get(key) or _further(key)
    return by if margin is None else by._replace(tie=margin / by.scale)


def _further(key: str) -> Yardstick:
    """The yardstick of a metric that reports show without a verdict."""
    if match := FOREIGN.fullmatch(key):
        images, curve, score = match.groups()
        better = SMALLER if curve.startswith("fpr") else LARGER
        above = f"{curve.replace('_', ' ').upper()} of {images} by {score} %"
        return Yardstick(key, above, "raw", 100, 1, " points", better, 0.0005)
    prefix, _, name = key.partition("/")
    metric = METRICS[name]
    assert metric.better is not None
    is_share = metric.unit == "%"
    above = name.upper() + " %" * is_share
    tie = 0.5 * 10.0**-metric.decimals / metric.scale
    unit = " points" if is_share else ""
    return Yardstick(
        key, above, BELOW[prefix], metric.scale, metric.decimals, unit, metric.better, tie
    )
