"""A step of training: ours against a loop written by hand, and against Lightning's usual form."""

import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from measure import Cost, by_turns, composed, ratio, typical
from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import MLFlowLogger
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchmetrics.classification import MulticlassAccuracy, MulticlassCalibrationError
from torchvision.transforms import v2

from xent_bench.config.configure import configured
from xent_bench.config.parts import resolve
from xent_bench.data.split import Splits, split
from xent_bench.process.signals import Notice
from xent_bench.runs.begun import Unfinished
from xent_bench.tracking.logger import open_run
from xent_bench.training.build import build_classifier, build_loaders
from xent_bench.training.progress import Progress
from xent_bench.training.saving import Checkpointing
from xent_bench.training.trainer import build_trainer, use_threads

CASES = {
    "linear 784-10, batches of 64": ("model=linear", "batch_size=64", "data.n=24000"),
    "small CNN, batches of 128": ("model=cnn", "batch_size=128", "data.n=4000"),
}
BASE = ("data=synthetic", "data.size=28", "loss=sparse_ce", "epochs=1", "optimizer=sgd")
SHORT = ("data.n=300", "batch_size=16")
USUAL = 0.2  # share of the images that the usual form gets, which is slow


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: CPU a step in us, how much more than by hand, and the throughput against that."""
    rows = []
    for name, overrides in CASES.items():
        config = composed(*BASE, *overrides, *(SHORT if short else ()))
        with TemporaryDirectory() as folder:
            works: dict[str, Callable[[], Cost]] = {
                "by hand": partial(by_hand, config),
                "by hand, on our minibatches": partial(by_hand_on_ours, config),
                "xent_bench": partial(ours, config, Path(folder)),
            }
            rows += _rows(name, by_turns(works, rounds))  # what is compared stays close by
            works = {
                "by hand": works["by hand"],
                "Lightning as usually written": partial(usual, config, Path(folder)),
            }
            rows += _rows(name, by_turns(works, rounds and max(rounds // 4, 1)))[1:]
    return rows


def _rows(case: str, costs_of: dict[str, list[Cost]]) -> list[list[str]]:
    hand = costs_of["by hand"]
    return [
        [
            f"{case}: {work}",
            f"{1e6 * typical(costs).cpu:,.0f}",
            f"{1e6 * median(a.cpu - b.cpu for a, b in zip(costs, hand, strict=True)):+,.0f}",
            f"{1 / ratio(costs, hand).cpu:.3f}",
        ]
        for work, costs in costs_of.items()
    ]


class Stopwatch(Callback):
    """The cost of a step of the last epoch's training, without validation."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin when the device has done what it was told before."""
        finish(pl_module.device)
        self.began = time.process_time(), time.perf_counter(), trainer.global_step

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End when the device has ended."""
        finish(pl_module.device)
        cpu, wall, step = self.began
        steps = trainer.global_step - step
        spent = time.process_time() - cpu, time.perf_counter() - wall
        self.a_step = Cost(*(seconds / steps for seconds in spent))


def finish(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ours(config: DictConfig, folder: Path) -> Cost:
    """Train with everything that a run has: MLflow, progress, metrics, checkpoints."""
    with TemporaryDirectory(dir=folder) as temporary, Notice() as notice:
        place, watch = Path(temporary), Stopwatch()
        checkpointing = Checkpointing(place, config.machine, notice)
        trainer = build_trainer(
            config, checkpointing, Progress("bench", place, config.epochs), watch
        )
        data, splits = images_of(config)
        parts = resolve(config)
        loaders = build_loaders(config, parts, data, splits, trainer.strategy.root_device)
        classifier, flops, _ = build_classifier(config, parts, data, splits, loaders)
        use_threads(config, 3 * flops * config.batch_size)
        begun = Unfinished("bench", "bench", {}, "")
        with open_run(place, begun, f"sqlite:///{folder}/mlflow.db") as tracking:
            trainer.logger = tracking
            trainer.fit(classifier, loaders.train, loaders.val)
        return watch.a_step


def by_hand(config: DictConfig) -> Cost:
    """Train in a plain loop on tensors in memory; nothing is scored or logged."""
    data, splits = images_of(config)
    images, labels = data.images[splits.train], data.labels[splits.train]
    mean, std = images.float().mean(), images.float().std()

    def minibatches() -> Any:
        order = torch.randperm(len(images))
        for start in range(0, len(images) - config.batch_size + 1, config.batch_size):
            ids = order[start : start + config.batch_size]
            yield (images[ids] - mean) / std, labels[ids]

    return trained(config, minibatches())


def by_hand_on_ours(config: DictConfig) -> Cost:
    """Train in a plain loop on the minibatches that ours has: what the loop alone costs."""
    data, splits = images_of(config)
    loaders = build_loaders(config, resolve(config), data, splits, torch.device("cpu"))
    return trained(config, loaders.train.batches)


def trained(config: DictConfig, minibatches: Any) -> Cost:
    """Train in a plain loop on these minibatches (images, labels)."""
    torch.use_deterministic_algorithms(False)
    data, splits = images_of(config)
    net = configured(config, "model")(data.shape, len(data.classes))
    net = net.to(memory_format=torch.channels_last)
    optimizer = configured(config, "optimizer")(net)
    steps = len(splits.train) // config.batch_size
    factor = partial(configured(config, "schedule"), steps=steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    cpu, wall = time.process_time(), time.perf_counter()
    for images, labels in minibatches:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        schedule.step()
    return Cost((time.process_time() - cpu) / steps, (time.perf_counter() - wall) / steps)


class Usual(LightningModule):
    """A module as tutorials have it: three metrics and the loss logged at every step."""

    def __init__(self, net: nn.Module, optimizer: Any, factor: Any) -> None:
        """Keep the net, its optimizer and the schedule's factor."""
        super().__init__()
        self.net, self.optimizer, self.factor = net, optimizer, factor
        self.measures = nn.ModuleDict(
            {
                "top1": MulticlassAccuracy(10),
                "top5": MulticlassAccuracy(10, top_k=5),
                "ece": MulticlassCalibrationError(10, n_bins=15),
            }
        )

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Log the loss and the metrics of one minibatch."""
        images, labels = batch
        outputs = self.net(images)
        loss = F.cross_entropy(outputs, labels)
        self.log("train/loss", loss, prog_bar=True)
        for name, measure in self.measures.items():
            measure(outputs, labels)
            self.log(f"train/{name}", measure)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log the loss of one minibatch."""
        images, labels = batch
        self.log("val/loss", F.cross_entropy(self.net(images), labels))

    def configure_optimizers(self) -> Any:
        """Optimizer, and the schedule, which moves at every step."""
        optimizer = self.optimizer(self.net)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Transformed(Dataset[Any]):
    """A set that is read one image at a time."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        """Keep the images in memory."""
        self.images, self.labels = images.permute(0, 2, 3, 1).numpy(), labels
        scaled = v2.ToDtype(torch.float32, scale=True)
        self.transform = v2.Compose([v2.ToImage(), scaled, v2.Normalize([0.5], [0.25])])

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, number: int) -> Any:
        """Transform one image."""
        return self.transform(self.images[number]), self.labels[number]


def usual(config: DictConfig, folder: Path) -> Cost:
    """Train as tutorials do; the DataLoader has no workers, which is fastest for small images."""
    data, splits = images_of(config)
    train, val = (ids[: int(USUAL * len(ids))] for ids in splits[:2])
    sets = [Transformed(data.images[ids], data.labels[ids]) for ids in (train, val)]
    loaders = [DataLoader(part, config.batch_size, shuffle=part is sets[0]) for part in sets]
    net = configured(config, "model")(data.shape, len(data.classes))
    steps = len(loaders[0])
    factor = partial(configured(config, "schedule"), steps=steps)
    watch = Stopwatch()
    with TemporaryDirectory(dir=folder) as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=MLFlowLogger("usual", tracking_uri=f"sqlite:///{folder}/mlflow.db"),
            callbacks=[watch, ModelCheckpoint(place)],
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        trainer.fit(Usual(net, configured(config, "optimizer"), factor), *loaders)
    return watch.a_step


def images_of(config: DictConfig) -> tuple[Any, Splits]:
    """Load the set and split it."""
    data = configured(config, "data")()
    return data, split(data, config.seed)
