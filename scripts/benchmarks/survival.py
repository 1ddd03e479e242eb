"""What it costs that a run survives whatever ends it: the same short runs with and without.

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

from xent_bench.checkpoint import CHECKPOINTS, LastingCheckpointIO
from xent_bench.configure import configured
from xent_bench.curves import Curves
from xent_bench.train import run
from xent_bench.whole_files import write_whole

EPOCHS = 20


def measured(rounds: int) -> list[list[str]]:
    """Rows: a run of a sweep against the same without, and what one of each thing takes."""
    with TemporaryDirectory(dir="/var/tmp") as place:  # on a disk: /tmp may be memory
        return [_runs(Path(place), rounds), *_single(Path(place), rounds)]


def _runs(root: Path, rounds: int) -> list[str]:
    """One by one, by turns: a machine's speed drifts less within a run than within a sweep."""
    fresh = (root / str(number) for number in count())
    ended: set[str] = set()

    def one() -> Cost:
        return cost_of(lambda: ended.add(_trained(next(fresh), root)))

    def without() -> Cost:
        with _nothing_survives():
            return one()

    found = by_turns({"with": one, "without": without}, rounds)
    assert len(ended) == 1, "the weights differ"
    whole, pairs = typical(found["with"]), list(zip(found["with"], found["without"], strict=True))
    return [
        "a run of a small sweep",
        f"{whole.cpu:.2f} s, {_times([(a.cpu, b.cpu) for a, b in pairs])}",
        f"{whole.wall:.2f} s, {_times([(a.wall, b.wall) for a, b in pairs])}",
        "1.05 times the same without",
    ]


def _times(pairs: list[tuple[float, float]]) -> str:
    """The median ratio, and between which of the ratios the true one is in 19 cases of 20."""
    ratios = sorted(a / b for a, b in pairs)
    low = max(0, floor(len(ratios) / 2 - 0.98 * sqrt(len(ratios))) - 1)
    return f"{median(ratios):.3f} times ({ratios[low]:.3f} to {ratios[-1 - low]:.3f})"


def _trained(runs: Path, root: Path) -> str:
    """A run of the quickstart's; its weights."""
    config = composed("experiment=quickstart", f"epochs={EPOCHS}")
    config.machine.runs, config.machine.tracking = str(runs), f"sqlite:///{root}/mlflow.db"
    return str(run(config)["tags"]["weights_sha256"])


@contextmanager
def _nothing_survives() -> Iterator[None]:
    """As the least that trains and logs the same would do it."""
    nothing = ("checkpointing.Checkpointing._save", "fit.save_begun", "tracking.logger.save_begun")
    nothing += ("progress.save_pace", "tracking.logger.set_pending", "tracking.logger.complaint")
    with ExitStack() as patches:
        for name in nothing:
            patches.enter_context(patch(f"xent_bench.{name}", lambda *_: None))
        patches.enter_context(patch("xent_bench.whole_files._write", _write_plainly))
        patches.enter_context(patch.object(Curves, "save", _save))
        yield


def _write_plainly(path: Path, content: str | bytes | memoryview, *, flush: bool) -> None:
    del flush
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _save(curves: Curves) -> None:
    """Once, for MLflow to read at the end."""
    if EPOCHS in curves.steps:
        _write_plainly(curves.file, json.dumps(curves.steps), flush=False)


def _single(root: Path, rounds: int) -> list[list[str]]:
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
    works[f"the curves of {EPOCHS} epochs"] = partial(_curves, root)
    works["a small file, written whole"] = partial(write_whole, root / "small", "x" * 200)
    works["fsync of a small file"] = partial(_flush, root / "flushed")
    turns = {name: partial(cost_of, work) for name, work in works.items()}
    return [
        [name, f"{1e3 * typical(costs).cpu:.1f} ms", f"{1e3 * typical(costs).wall:.1f} ms", "-"]
        for name, costs in by_turns(turns, rounds).items()
    ]


def _checkpoint(config: DictConfig) -> dict[str, Any]:
    """Of as many numbers as after a step of AdamW, which keeps two more of each weight."""
    data = configured(config, "data")()
    net: nn.Module = configured(config, "model")(data.shape, len(data.classes))
    state = {f"net.{name}": value for name, value in net.state_dict().items()}
    moments = {
        i: {"exp_avg": each.detach().clone(), "exp_avg_sq": each.detach().clone()}
        for i, each in enumerate(net.parameters())
    }
    return {"global_step": 1, "state_dict": state, "optimizer_states": [{"state": moments}]}


def _curves(folder: Path) -> None:
    curves = Curves(folder / "none")
    curves.file = folder / "curves.json"
    values = {f"val/metric{i}": i / 7 for i in range(15)}
    curves.steps = dict.fromkeys(range(1, EPOCHS), values)
    curves.add(EPOCHS, values)
    curves.save()


def _flush(file: Path) -> None:
    with file.open("wb") as opened:
        opened.write(b"x" * 200)
        opened.flush()
        os.fsync(opened.fileno())
