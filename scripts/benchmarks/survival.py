"""The cost of surviving whatever ends a run: the same short runs with and without.

In one process, which imports nothing while it is measured: beside a second of imports for each run
it would look cheaper. Without: no checkpoint, no file flushed or renamed, the curves written once,
nothing that says what has begun, how far it is, or what MLflow lacks, and nobody asks first whether
the store answers.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import count
from math import floor, sqrt
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from measure import Cost, by_turns, composed, cost_of, typical
from omegaconf import DictConfig
from torch import nn

from xent_bench.config.configure import configured
from xent_bench.runs.curves import Curves
from xent_bench.runs.whole_files import write_whole
from xent_bench.trained_net.weights import CHECKPOINTS
from xent_bench.training.checkpoint_files import LastingCheckpointIO
from xent_bench.training.run import run

EPOCHS, SHORT_EPOCHS = 20, 2


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: a run of a sweep against the same without, and what one of each thing takes."""
    epochs = SHORT_EPOCHS if short else EPOCHS
    with TemporaryDirectory(dir="/var/tmp") as place:  # on a disk: /tmp may be memory
        return [_runs(Path(place), rounds, epochs), *_single(Path(place), rounds, epochs)]


def _runs(root: Path, rounds: int, epochs: int) -> list[str]:
    """Train run after run, by turns: a machine's speed drifts less in a run than in a sweep."""
    fresh = (root / str(number) for number in count())
    weights: set[str] = set()

    def one() -> Cost:
        return cost_of(lambda: weights.add(_trained(next(fresh), root, epochs)))

    def without() -> Cost:
        with _nothing_survives(epochs):
            return one()

    surviving, bare = by_turns({"with": one, "without": without}, rounds).values()
    if len(weights) != 1:
        raise RuntimeError(f"expected equal weights after every run, got {len(weights)} different")
    whole, pairs = typical(surviving), list(zip(surviving, bare, strict=True))
    return [
        "a run of a small sweep",
        f"{whole.cpu:.2f} s, {_times([(a.cpu, b.cpu) for a, b in pairs])}",
        f"{whole.wall:.2f} s, {_times([(a.wall, b.wall) for a, b in pairs])}",
        "1.05 times the same without",
    ]


def _times(pairs: list[tuple[float, float]]) -> str:
    """Word the median ratio and its 95 % interval, which two of the ratios bound."""
    ratios = sorted(a / b for a, b in pairs)
    low = max(0, floor(len(ratios) / 2 - 0.98 * sqrt(len(ratios))) - 1)
    return f"{median(ratios):.3f} times ({ratios[low]:.3f} to {ratios[-1 - low]:.3f})"


def _trained(runs: Path, root: Path, epochs: int) -> str:
    """Train a run of the quickstart; returns the hash of its weights."""
    config = composed("experiment=quickstart", f"epochs={epochs}")
    config.machine.runs, config.machine.tracking = str(runs), f"sqlite:///{root}/mlflow.db"
    return str(run(config)["tags"]["weights_sha256"])


@contextmanager
def _nothing_survives(epochs: int) -> Iterator[None]:
    """Patch the package to do the least that trains and logs the same."""

    def save(curves: Curves) -> None:
        if epochs in curves.steps:  # once, for MLflow to read at the end
            _write_plainly(curves.file, json.dumps(curves.steps), flush=False)

    nothing = (
        "training.saving.Checkpointing._save",
        "training.progress.save_pace",
        "tracking.logger.set_pending",
        "tracking.logger.complaint",
    )
    with ExitStack() as patches:
        for name in nothing:
            patches.enter_context(patch(f"xent_bench.{name}", lambda *_: None))
        patches.enter_context(patch("xent_bench.runs.whole_files._write", _write_plainly))
        patches.enter_context(patch.object(Curves, "save", save))
        yield


def _write_plainly(path: Path, content: str | bytes | memoryview, *, flush: bool) -> None:
    del flush
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _single(root: Path, rounds: int, epochs: int) -> list[list[str]]:
    works: dict[str, Callable[[], object]] = {}
    for name, words in {
        "small CNN": ("experiment=quickstart",),
        "ResNet-18": ("experiment=quickstart", "model=resnet18"),
    }.items():
        content, folder = _checkpoint(composed(*words)), root / name
        folder.mkdir()
        save = partial(LastingCheckpointIO().save_checkpoint, content, folder)
        save()
        (file,) = folder.glob(CHECKPOINTS)
        works[f"a checkpoint of a {name}, {file.stat().st_size / 1e6:.1f} MB"] = save
    works[f"the curves of {epochs} epochs"] = partial(_curves, root, epochs)
    works["a small file, written whole"] = partial(write_whole, root / "small", "x" * 200)
    works["fsync of a small file"] = partial(_flush, root / "flushed")
    turns = {name: partial(cost_of, work) for name, work in works.items()}
    return [
        [name, f"{1e3 * typical(costs).cpu:.1f} ms", f"{1e3 * typical(costs).wall:.1f} ms", "-"]
        for name, costs in by_turns(turns, rounds).items()
    ]


def _checkpoint(config: DictConfig) -> dict[str, Any]:
    """Make a checkpoint as large as after a step of AdamW, which keeps two more of each weight."""
    data = configured(config, "data")()
    net: nn.Module = configured(config, "model")(data.shape, len(data.classes))
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    moments = {
        i: {"exp_avg": weight.detach().clone(), "exp_avg_sq": weight.detach().clone()}
        for i, weight in enumerate(net.parameters())
    }
    return {"global_step": 1, "state_dict": state, "optimizer_states": [{"state": moments}]}


def _curves(folder: Path, epochs: int) -> None:
    curves = Curves(folder / "none")
    curves.file = folder / "curves.json"
    values = {f"val/metric{i}": i / 7 for i in range(15)}
    curves.steps = dict.fromkeys(range(1, epochs), values)
    curves.add(epochs, values)
    curves.save()


def _flush(file: Path) -> None:
    with file.open("wb") as opened:
        opened.write(b"x" * 200)
        opened.flush()
        os.fsync(opened.fileno())
