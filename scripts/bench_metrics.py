"""What the metrics cost: .venv/bin/python scripts/bench_metrics.py [ROUNDS]

Against the passes that nothing can do without, a sort and a softmax of each row, and against
torchmetrics doing the five metrics of ours that it has. Alternating, medians of wall time, one
thread; ratios are what counts. Memory is the peak beside the outputs.
"""

import platform
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import scipy
import torch
import torchmetrics
from scipy.special import log_softmax
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from xent_bench.links import softmax
from xent_bench.metrics.accuracy import balanced_top1
from xent_bench.metrics.calibration import ece, mce
from xent_bench.metrics.examples import examine
from xent_bench.metrics.score import score, summary
from xent_bench.metrics.uncertainty import null_band, standard_errors
from xent_bench.tables import Table, print_markdown

SIZES = ((10_000, 10), (50_000, 1000))


def with_uncertainty(outputs: np.ndarray, target: np.ndarray) -> None:
    """Everything that is reported of one reading of a split."""
    examples = examine(outputs, target, softmax)
    summary(examples)
    standard_errors(examples)
    null_band(examples.ranked)


def by_torchmetrics(outputs: torch.Tensor, target: torch.Tensor, c: int) -> None:
    """top1, top5, balanced_top1, ece and mce."""
    p = outputs.softmax(dim=1)
    for options in ({"top_k": 1}, {"top_k": 5}):
        multiclass_accuracy(p, target, c, average="micro", **options)
    multiclass_accuracy(p, target, c, average="macro")
    for norm in ("l1", "max"):
        multiclass_calibration_error(p, target, c, n_bins=15, norm=norm)


def same_five(outputs: np.ndarray, target: np.ndarray) -> list[float]:
    """Of ours, what torchmetrics has."""
    examples = examine(outputs, target, softmax)
    top1, ranked = examples.top1, examples.ranked
    means = [top1.mean(), examples.top5.mean(), balanced_top1(top1, target)]
    return [*means, ece(ranked), mce(ranked)]


def main(rounds: int) -> None:
    """Print a table for each size."""
    torch.set_num_threads(1)
    for n, c in SIZES:
        rng = np.random.default_rng(0)
        outputs = 3 * rng.normal(size=(n, c)).astype(np.float32)
        target = (outputs + rng.gumbel(size=(n, c))).argmax(axis=1)
        tensors = torch.from_numpy(outputs), torch.from_numpy(target)
        passes = {
            f"{name} of each row, {kind.__name__}": partial(one_pass, work, outputs, kind)
            for kind in (np.float32, np.float64)
            for name, work in (("sort", np.sort), ("log_softmax", log_softmax))
        }
        theirs = partial(by_torchmetrics, *tensors, c)
        works: dict[str, Callable[[], object]] = {
            "every metric": partial(score, outputs, target),
            "with standard errors and null band": partial(with_uncertainty, outputs, target),
            "five of them": partial(same_five, outputs, target),
            "the same five by torchmetrics": theirs,
        }
        times = medians(passes | works, rounds)
        slowest = {
            kind: max(times[name] for name in passes if name.endswith(kind))
            for kind in ("float32", "float64")
        }
        rows = [
            [
                name,
                f"{1000 * seconds:.1f}",
                *(f"{seconds / slowest[kind]:.2f}" for kind in slowest),
                f"{seconds / times['the same five by torchmetrics']:.2f}",
                "-" if work is theirs else f"{memory(work) / outputs.nbytes:.2f}",
            ]
            for name, work in (passes | works).items()
            for seconds in (times[name],)
        ]
        headings = ["work", "ms", *(f"/ slowest pass, {kind}" for kind in slowest)]
        headings += ["/ torchmetrics", "memory / outputs"]
        versions = f"NumPy {np.__version__}, SciPy {scipy.__version__}, torch {torch.__version__}"
        note = f"{processor()}, {versions}, torchmetrics {torchmetrics.__version__}; n = {rounds}"
        print_markdown(Table(f"{n:,} x {c:,} outputs", headings, rows, [note]))


def one_pass(work: Callable[..., object], outputs: np.ndarray, kind: type) -> None:
    """In the arithmetic of the outputs, or in that of the metrics."""
    work(outputs.astype(kind, copy=False), axis=1)


def medians(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of each, after one round to warm up."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            found[name].append(time.perf_counter() - start)
    return {name: median(seconds[1:]) for name, seconds in found.items()}


def memory(work: Callable[[], object]) -> int:
    """The most bytes that NumPy allocates meanwhile; torch's memory is its own."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def processor() -> str:
    """Its model, where Linux tells."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(": ")[2].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
