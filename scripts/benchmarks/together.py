"""Forty runs as one training, against the same runs one after the other, and loops by hand."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from loop import finish, images_of
from measure import Cost, by_turns, composed, ratio, typical
from omegaconf import DictConfig
from torch.nn import functional as F
from vectors import made_features, words_of

from xent_bench.config.configure import configured
from xent_bench.config.identity import run_folder
from xent_bench.config.schema import Accelerator
from xent_bench.data.vectors import Vectors
from xent_bench.runs.lacking import has_ended
from xent_bench.together.group import Group
from xent_bench.together.train_group import Member, NotTogether, train_group
from xent_bench.training.classifier import Classifier
from xent_bench.training.run import run

LOSSES = ("ce", "sparse_ce", "mse", "hinge", "focal", "label_smoothing", "gce", "square")
SEEDS = 5
FEW = 3  # runs of the forty that are trained alone, or by hand
N_FEATURES = 20_000
CASES = {
    "linear, digits": ("model=linear", "data=digits"),
    "MLP, digits": ("model=mlp", "data=digits"),
    "small CNN, digits": ("model=cnn", "data=digits"),
    "linear, features": ("model=linear", "batch_size=256"),
    "MLP, features": ("model=mlp", "batch_size=256"),
    "small CNN, Fashion-MNIST": ("model=cnn", "data=fashion_mnist", "train_fraction=0.05"),
}
SHORT = {"MLP, digits": CASES["MLP, digits"]}
TRAIN = (sys.executable, "-c", "from xent_bench.commands.train import main; main()")
SWEEPS = {
    "the quickstart, 15 runs": ("experiment=quickstart",),
    "78 heads: 39 losses, 2 seeds, 10 epochs": (
        "experiment=heads",
        "optimizer.lr=0.003",
        "seed=0,1",
    ),
}


def measured(rounds: int, *, short: bool, on: tuple[str, ...] = ()) -> list[list[str]]:
    """Rows: what is trained, ms a step of a run, and the throughput against other ways.

    `on` are words that choose another device than the CPU; the clock counts there, and not the
    processor's time.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        features = words_of(made_features(folder, 600 if short else N_FEATURES, short=short))
        rows = [
            _case(name, (*(features if "features" in name else ()), *words), folder, rounds, on)
            for name, words in (SHORT if short else CASES).items()
        ]
        if not short:
            rows += [_sweep(name, features, words, folder, on) for name, words in SWEEPS.items()]
    return rows


def _case(
    name: str, words: tuple[str, ...], folder: Path, rounds: int, on: tuple[str, ...]
) -> list[str]:
    epochs = "epochs=11" if "digits" in name else "epochs=3"
    counted = "wall" if on else "cpu"

    def configs(place: str) -> list[DictConfig]:
        offline = ("machine.offline=true", f"machine.runs={folder}/{place}")
        return [
            composed(*words, epochs, f"loss={loss}", f"seed={seed}", *offline, *on)
            for seed in range(SEEDS)
            for loss in LOSSES
        ]

    works: dict[str, Callable[[], Cost]] = {
        "together": partial(_together, configs, folder),
        "alone": partial(_alone, configs, folder),
        "by hand": partial(_by_hand, configs("by hand")[:FEW]),
    }
    try:
        costs = by_turns(works, rounds)
    except NotTogether as reason:
        del works["together"]
        costs = by_turns(works, rounds)
        against = f"{1 / getattr(ratio(costs['alone'], costs['by hand']), counted):.2f}"
        return [f"40 x {name}", f"each alone: {reason}", "1", against]
    together = getattr(typical(costs["together"]), counted)
    ratios = [
        f"{1 / getattr(ratio(costs['together'], costs[other]), counted):.2f}"
        for other in ("alone", "by hand")
    ]
    return [f"40 x {name}", f"{1e3 * together:.3f} ms a step", *ratios]


def _together(configs: Callable[[str], list[DictConfig]], folder: Path) -> Cost:
    """A step of one of forty runs that are trained as one; each way begins in a new folder."""
    with TemporaryDirectory(dir=folder) as place:
        wanted = [_paused(config) for config in configs(Path(place).name)]
        with _timed(Group) as watch:
            train_group([Member(config, "") for config in wanted], _fail)
        assert all(has_ended(run_folder(config), 1) for config in wanted)
    return watch.a_step(len(wanted))


def _alone(configs: Callable[[str], list[DictConfig]], folder: Path) -> Cost:
    with TemporaryDirectory(dir=folder) as place, _timed(Classifier) as watch:
        for config in configs(Path(place).name)[:FEW]:
            run(_paused(config))
    return watch.a_step(1)


def _paused(config: DictConfig) -> DictConfig:
    """The run up to its last epoch but one: nothing is evaluated."""
    config.machine.pause_after = config.epochs - 1
    return config


def _fail(_: int, error: BaseException | None) -> None:
    if error is not None:
        raise error


class Watch:
    """CPU and clock seconds of calls of training_step, and the steps that they took."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.cpu = self.wall = 0.0
        self.steps = 0

    def a_step(self, runs: int) -> Cost:
        """The cost of a step of one run."""
        return Cost(self.cpu / self.steps / runs, self.wall / self.steps / runs)


@contextmanager
def _timed(module: Any) -> Iterator[Watch]:
    """Time what Lightning calls for each group of minibatches."""
    watch, original = Watch(), module.training_step

    def training_step(self: Any, minibatches: Any) -> None:
        before, device = self.trainer.global_step, self.trainer.strategy.root_device
        finish(device)
        cpu, wall = time.process_time(), time.perf_counter()
        original(self, minibatches)
        finish(device)
        watch.cpu += time.process_time() - cpu
        watch.wall += time.perf_counter() - wall
        watch.steps += self.trainer.global_step - before

    module.training_step = training_step
    try:
        yield watch
    finally:
        module.training_step = original


def _by_hand(configs: list[DictConfig]) -> Cost:
    """A step of plain loops on tensors in memory, with cross-entropy and PyTorch's AdamW."""
    cpu = wall = 0.0
    steps = 0
    for config in configs:
        data, splits = images_of(config)
        images = data.images
        x = images.take(splits.train) if isinstance(images, Vectors) else images[splits.train]
        x, labels = x.float().reshape(-1, *data.shape), data.labels[splits.train]
        device = torch.device("cuda" if config.machine.accelerator is Accelerator.gpu else "cpu")
        x, labels = ((x - x.mean()) / x.std()).to(device), labels.to(device)
        net = configured(config, "model")(data.shape, len(data.classes))
        net = net.to(device, memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
        finish(device)
        start = time.process_time(), time.perf_counter()
        for _ in range(config.epochs - 1):
            order = torch.randperm(len(x), device=device)
            for first in range(0, len(x) - config.batch_size + 1, config.batch_size):
                ids = order[first : first + config.batch_size]
                optimizer.zero_grad()
                F.cross_entropy(net(x[ids]), labels[ids]).backward()
                optimizer.step()
                steps += 1
        finish(device)
        cpu += time.process_time() - start[0]
        wall += time.perf_counter() - start[1]
    return Cost(cpu / steps, wall / steps)


def _sweep(
    name: str, features: tuple[str, ...], words: tuple[str, ...], folder: Path, on: tuple[str, ...]
) -> list[str]:
    data = tuple(word for word in features if word.startswith("data.")) if "heads" in name else ()
    costs = [
        _cost_of(
            (*TRAIN, "-m", *words, *data, *on, f"machine.together={together}"), folder / together
        )
        for together in ("auto", "1")
    ]
    costs = [cost.wall if on else cost.cpu for cost in costs]
    return [name, f"{costs[0]:.0f} s", f"{costs[1] / costs[0]:.2f}", ""]


def _cost_of(command: tuple[str, ...], folder: Path) -> Cost:
    """Seconds of a command and, of the processor, of all its processes."""
    folder.mkdir(exist_ok=True)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, time.perf_counter() - start)
