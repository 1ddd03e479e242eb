"""The metrics on val by which the best epoch of a run can be chosen, and the sign of each."""

from xent_bench.config.nearest import hint
from xent_bench.metrics.reported import METRICS

# sign of an improvement, 1 or -1, by key: val/top1 is better when it is larger
SIGNS = {
    f"val/{metric.name}": metric.better
    for metric in METRICS.values()
    if metric.better is not None and "val" in metric.prefixes
}


def complaint_of_metric(key: str) -> str | None:
    """The reason why no epoch can be chosen by this metric, or None."""
    if key in SIGNS:
        return None
    return f"expected one of {', '.join(SIGNS)}, got {key!r}{hint(key, SIGNS)}"
