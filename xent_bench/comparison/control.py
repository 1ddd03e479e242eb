"""The A/A control: ce and sparse_ce, one loss in two formats of label, must end equal."""

from collections.abc import Sequence
from typing import NamedTuple

from xent_bench.runs.result import Run

CONTROL = ("ce", "sparse_ce")


class Control(NamedTuple):
    """Result of the A/A control over pairs of a ce run and a sparse_ce run, otherwise the same."""

    equal: int  # number of pairs that ended with the same weights, bit for bit
    pairs: int  # number of pairs
    noise: float  # largest difference in test/top1 within a pair, a share in [0, 1]


def control_of(runs: Sequence[Run]) -> Control:
    """Compare each ce run with the sparse_ce run that has the same other parameters."""
    by_loss: dict[str, dict[str, Run]] = {loss: {} for loss in CONTROL}
    for run in runs:
        if run.params["loss"] in CONTROL and "weights_sha256" in run.tags:
            others = str(sorted((k, str(v)) for k, v in run.params.items() if k != "loss"))
            by_loss[run.params["loss"]][others] = run
    ce, sparse_ce = (by_loss[loss] for loss in CONTROL)
    pairs = [(ce[others], sparse_ce[others]) for others in ce.keys() & sparse_ce.keys()]
    equal = sum(a.tags["weights_sha256"] == b.tags["weights_sha256"] for a, b in pairs)
    noise = max((abs(a.metrics["test/top1"] - b.metrics["test/top1"]) for a, b in pairs), default=0)
    return Control(equal, len(pairs), noise)
