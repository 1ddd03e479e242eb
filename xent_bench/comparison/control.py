"""The A/A control: one loss in two formats of label, which must end equal."""

from collections.abc import Sequence
from typing import NamedTuple

from xent_bench.runs.result import Run

CONTROL = ("ce", "sparse_ce")


class Control(NamedTuple):
    """Pairs of ce and sparse_ce runs that differ in nothing else, how many of them ended with the
    same weights, bit for bit, and by how much the others differ at most in top-1.
    """

    equal: int
    pairs: int
    noise: float


def control_of(runs: Sequence[Run]) -> Control:
    """Of the pairs among these runs."""
    ended: dict[str, dict[str, Run]] = {loss: {} for loss in CONTROL}
    for run in runs:
        if run.params["loss"] in CONTROL and "weights_sha256" in run.tags:
            pair = str(sorted((k, str(v)) for k, v in run.params.items() if k != "loss"))
            ended[run.params["loss"]][pair] = run
    ce, sparse_ce = (ended[loss] for loss in CONTROL)
    pairs = [(ce[pair], sparse_ce[pair]) for pair in ce.keys() & sparse_ce.keys()]
    equal = sum(a.tags["weights_sha256"] == b.tags["weights_sha256"] for a, b in pairs)
    noise = max((abs(a.metrics["test/top1"] - b.metrics["test/top1"]) for a, b in pairs), default=0)
    return Control(equal, len(pairs), noise)
