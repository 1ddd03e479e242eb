"""The cost of a run beside its steps, part by part: runs of small nets, one after the other.

In one process, as the runs of a group are, which imports nothing while it is measured. A part's
time leaves out that of other parts within it.
"""

import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from pathlib import Path
from pkgutil import resolve_name
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from measure import composed
from omegaconf import DictConfig
from vectors import made_features, words_of

from xent_bench.sweeps.fork_server import PRELOADED
from xent_bench.training.run import run

STEPS, OTHER = "the steps of training", "everything else"
# the functions of each part, where they are looked up
PARTS = {
    STEPS: ["pytorch_lightning.Trainer.fit"],
    "the forward passes of val, calib and test": [
        "xent_bench.training.classifier.Classifier.validation_step",
        "xent_bench.training.fit._predict",
    ],
    "the scores of val after each epoch": ["xent_bench.training.classifier.val_scores"],
    "checkpoints": ["xent_bench.training.saving.Checkpointing._save"],
    "images, splits and batches": [
        *(f"xent_bench.training.build.{name}" for name in ("load", "split")),
        *(f"xent_bench.training.build.{name}" for name in ("conditioned", "build_loaders")),
    ],
    "the net, tried out": [
        "xent_bench.training.build.build_trainer",
        "xent_bench.training.build.build_classifier",
    ],
    "hashes of the data and the code": [
        *("xent_bench.data.image_set.ImageSet.sha256", "xent_bench.data.split.Splits.sha256"),
        "xent_bench.training.build.code_of_parts",
    ],
    "the account of the images": ["xent_bench.training.records.account"],
    "commit, versions and hardware": [
        "xent_bench.training.records.code_tags",
        "xent_bench.training.records.provenance",
    ],
    "small files": ["xent_bench.runs.whole_files._write"],
    "MLflow": [
        *(f"xent_bench.tracking.logger.{name}" for name in ("complaint", "_open", "_catch_up")),
        "xent_bench.tracking.mirror.Mirror.follow",
    ],
    "the scores of test": ["xent_bench.training.finish.evaluate"],
    "pictures": ["xent_bench.training.finish.draw_pictures"],
    "records of the net, its hash": [
        "xent_bench.training.finish.net_record",
        "xent_bench.training.finish.weights_sha256",
    ],
}


def cpu_seconds() -> float:
    """Seconds of CPU of this process, and of those that it has started and that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Clock:
    """Seconds of CPU that each part has taken, without other parts within it."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.seconds: dict[str, float] = defaultdict(float)
        self.within: list[float] = []  # seconds of inner parts, for each part that is running

    def timed(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose calls count for the part."""

        @wraps(work)  # Lightning reads the names of arguments
        def call(*values: Any, **named: Any) -> Any:
            start = cpu_seconds()
            self.within.append(0.0)
            try:
                return work(*values, **named)
            finally:
                seconds = cpu_seconds() - start
                self.seconds[part] += seconds - self.within.pop()
                if self.within:
                    self.within[-1] += seconds

        return call


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows of CPU time: a part of a run of the quickstart, and of a head; the share beside."""
    for module in PRELOADED:
        import_module(module)
    with TemporaryDirectory(dir="/var/tmp") as place:  # on a disk: /tmp may be memory
        root = Path(place)
        small = ["epochs=2", "batch_size=32"] if short else []
        features = made_features(root, 600 if short else 20_000, short=short)
        cases = {
            "quickstart": ["experiment=quickstart", *small],
            "head": ["experiment=heads", *words_of(features), "optimizer.lr=0.003", *small],
        }
        seconds_of = {name: _trained(words, root / name, rounds) for name, words in cases.items()}
    return [_row(part, seconds_of) for part in [*PARTS, OTHER]] + _sums(seconds_of)


def _trained(words: list[str], place: Path, rounds: int) -> list[dict[str, float]]:
    """Train run after run, as a group does; the first warms up and is thrown away."""
    runs = [seconds_of_run(composed(*words, f"seed={seed}"), place) for seed in range(rounds + 1)]
    return runs[1:] or runs


def seconds_of_run(config: DictConfig, place: Path) -> dict[str, float]:
    """Train a run below the folder; seconds of CPU of each part, and of everything else."""
    config.machine.runs, config.machine.tracking = str(place), f"sqlite:///{place}/mlflow.db"
    clock = Clock()
    with _counting(clock):
        clock.timed(OTHER, run)(config)
    return clock.seconds


@contextmanager
def _counting(clock: Clock) -> Iterator[None]:
    with ExitStack() as patches:
        for part, names in PARTS.items():
            for name in names:
                owner, _, attribute = name.rpartition(".")
                holder = resolve_name(owner)
                work = clock.timed(part, getattr(holder, attribute))
                patches.enter_context(patch.object(holder, attribute, work))
        yield


def _row(part: str, seconds_of: Mapping[str, list[dict[str, float]]]) -> list[str]:
    medians = (median(seconds.get(part, 0.0) for seconds in runs) for runs in seconds_of.values())
    return [part, *(f"{1000 * seconds:,.0f}" for seconds in medians)]


def _sums(seconds_of: Mapping[str, list[dict[str, float]]]) -> list[list[str]]:
    """Rows: all of it, and all beside the steps."""
    whole = [[sum(seconds.values()) for seconds in runs] for runs in seconds_of.values()]
    beside = [
        [sum(seconds.values()) - seconds[STEPS] for seconds in runs] for runs in seconds_of.values()
    ]
    return [
        [name, *(f"{1000 * median(runs):,.0f}" for runs in sums)]
        for name, sums in {"all of it": whole, "all beside the steps": beside}.items()
    ]
