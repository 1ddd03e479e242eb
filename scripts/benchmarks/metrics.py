"""The cost of the metrics, against single passes over the outputs and against torchmetrics.

A sort and a softmax of each row are passes that nothing can do without; torchmetrics does the
five metrics of ours that it has. Memory is the peak beside the outputs.
"""

import tracemalloc
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from measure import by_turns, cost_of, typical
from scipy.special import log_softmax
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from xent_bench.links import softmax
from xent_bench.metrics.accuracy import balanced_top1
from xent_bench.metrics.calibration import ece, mce
from xent_bench.metrics.examples import examine
from xent_bench.metrics.score import score, summary
from xent_bench.metrics.uncertainty import null_band, standard_errors

THEIRS = "the same five by torchmetrics"
SIZES = ((10_000, 10), (50_000, 1000))
SHORT_SIZES = ((200, 10), (100, 50))


def with_uncertainty(outputs: np.ndarray, target: np.ndarray) -> None:
    """Compute everything that is reported of one reading of a split."""
    examples = examine(outputs, target, softmax)
    summary(examples)
    standard_errors(examples)
    null_band(examples.ranked)


def by_torchmetrics(outputs: torch.Tensor, target: torch.Tensor, c: int) -> None:
    """Compute top1, top5, balanced_top1, ece and mce by torchmetrics."""
    p = outputs.softmax(dim=1)
    for options in ({"top_k": 1}, {"top_k": 5}):
        multiclass_accuracy(p, target, c, average="micro", **options)
    multiclass_accuracy(p, target, c, average="macro")
    for norm in ("l1", "max"):
        multiclass_calibration_error(p, target, c, n_bins=15, norm=norm)


def same_five(outputs: np.ndarray, target: np.ndarray) -> list[float]:
    """Compute those of our metrics that torchmetrics has."""
    examples = examine(outputs, target, softmax)
    top1, ranked = examples.top1, examples.ranked
    means = [top1.mean(), examples.top5.mean(), balanced_top1(top1, target)]
    return [*means, ece(ranked), mce(ranked)]


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: milliseconds of the clock, against single passes and torchmetrics, memory."""
    torch.set_num_threads(1)
    return [row for n, c in (SHORT_SIZES if short else SIZES) for row in _rows(n, c, rounds)]


def _rows(n: int, c: int, rounds: int) -> list[list[str]]:
    rng = np.random.default_rng(0)
    outputs = 3 * rng.normal(size=(n, c)).astype(np.float32)
    target = (outputs + rng.gumbel(size=(n, c))).argmax(axis=1)
    tensors = torch.from_numpy(outputs), torch.from_numpy(target)
    passes: dict[str, Callable[[], object]] = {
        f"{name} of each row, {kind.__name__}": partial(pass_over, work, outputs, kind)
        for kind in (np.float32, np.float64)
        for name, work in (("sort", np.sort), ("log_softmax", log_softmax))
    }
    works: dict[str, Callable[[], object]] = {
        "every metric": partial(score, outputs, target),
        "with standard errors and null band": partial(with_uncertainty, outputs, target),
        "five of them": partial(same_five, outputs, target),
        THEIRS: partial(by_torchmetrics, *tensors, c),
    }
    costs_of = by_turns(
        {name: partial(cost_of, work) for name, work in (passes | works).items()}, rounds
    )
    times = {name: typical(costs).wall for name, costs in costs_of.items()}
    slowest = [
        max(times[name] for name in passes if name.endswith(kind))
        for kind in ("float32", "float64")
    ]
    return [
        [
            f"{n:,} x {c:,}: {name}",
            f"{1000 * seconds:.1f}",
            *(f"{seconds / one_pass:.2f}" for one_pass in slowest),
            f"{seconds / times[THEIRS]:.2f}",
            "-" if name == THEIRS else f"{memory((passes | works)[name]) / outputs.nbytes:.2f}",
        ]
        for name, seconds in times.items()
    ]


def pass_over(work: Callable[..., object], outputs: np.ndarray, kind: type) -> None:
    """Do one pass over the rows, in the arithmetic of the outputs or in that of the metrics."""
    work(outputs.astype(kind, copy=False), axis=1)


def memory(work: Callable[[], object]) -> int:
    """Peak bytes that NumPy allocates meanwhile; torch's memory is not seen."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
