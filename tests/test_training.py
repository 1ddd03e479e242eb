"""The training loop against one written by hand: the same weights, bit for bit."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback
from pytorch_lightning.loggers.logger import DummyLogger
from torch import nn
from torch.nn import functional as F

from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.identity import run_folder
from xent_bench.config.parts import resolve
from xent_bench.data.split import split
from xent_bench.training.build import Loaders, build_classifier, build_loaders
from xent_bench.training.checkpoint_files import last_checkpoint
from xent_bench.training.classifier import Classifier
from xent_bench.training.run import run
from xent_bench.training.trainer import WORTH_THREADS, build_trainer, use_threads

CPU = torch.device("cpu")


def built(config: DictConfig, device: torch.device = CPU) -> tuple[Loaders, Classifier]:
    parts = resolve(config)
    data = parts.data()
    splits = split(data, config.seed)
    loaders = build_loaders(config, parts, data, splits, device)
    classifier, *_ = build_classifier(config, parts, data, splits, loaders)
    return loaders, classifier


def by_hand(
    config: DictConfig, clip_norm: float | None = None, parts: int = 1, bf16: bool = False
) -> nn.Module:
    """As one writes it without a harness, with torch's own schedule."""
    loaders, classifier = built(config)
    net, batches = classifier.net, loaders.train.batches
    optimizer = configured(config, "optimizer")(net)
    factor = partial(configured(config, "schedule"), steps=config.epochs * len(batches))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    for epoch in range(config.epochs):
        batches.set_epoch(epoch)
        for images, target in batches:
            optimizer.zero_grad()
            for x, y in zip(images.chunk(parts), target.chunk(parts), strict=True):
                with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
                    outputs = net(x)
                (F.cross_entropy(outputs.float(), y) / parts).backward()
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
            optimizer.step()
            schedule.step()
    return net


@pytest.mark.parametrize(
    ("overrides", "options"),
    [
        ((), {}),
        (("optimizer=sgd", "schedule.warmup=0.3"), {}),
        (("precision=bf16", "optimizer.lr=0.03"), {"bf16": True}),
        (("clip_norm=0.5",), {"clip_norm": 0.5}),
        (("accumulate=4",), {"parts": 4}),
        (("augmentation.mixup=0.4", "augmentation.cutmix=1", "augmentation.cutout=2"), {}),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, tuple) else "",
)
def test_a_run_ends_with_the_weights_of_a_loop_written_by_hand(
    config: Callable[..., DictConfig], overrides: tuple[str, ...], options: dict[str, Any]
) -> None:
    wanted = config("data.flip=true", "data.crop=1", "loss=ce", *overrides)
    run(wanted)
    trained = torch.load(last_checkpoint(run_folder(wanted))[0], weights_only=True)["state_dict"]

    expected = by_hand(wanted, **options).state_dict()
    assert trained.keys() == {f"net.{name}" for name in expected}
    for name, value in expected.items():
        assert torch.equal(trained[f"net.{name}"], value), name


@pytest.mark.parametrize("key", ["accumulate=4", "clip_norm=0.01", "precision=bf16"])
def test_what_is_said_to_change_the_numbers_does(config, key):
    plain, changed = run(config("loss=ce")), run(config("loss=ce", key))

    assert plain["tags"]["weights_sha256"] != changed["tags"]["weights_sha256"]


def test_parts_of_a_batch_add_up_to_its_gradient(config):
    wanted = config("loss=ce")
    loaders, classifier = built(wanted)
    images, target = next(iter(loaders.train.batches))
    gradients, losses = [], []
    for parts in (1, 4):
        each = deepcopy(classifier.net)
        whole = Classifier(
            *(each, classifier.loss, classifier.link, classifier.optimizer, classifier.factor, 0),
            groups=loaders.train,
            encode=classifier.encode,
            batch_size=len(images),
            accumulate=parts,
        )
        whole.compute_gradient(images, target)
        losses += whole.train_losses
        gradients.append([weight.grad for weight in each.parameters()])

    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(gradients[0], gradients[1])


class Steps(Callback):
    """What Lightning believes at the end of each epoch, and the learning rate there."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def on_validation_end(self, trainer, pl_module):
        (optimizer,) = trainer.optimizers
        self.seen.append((trainer.global_step, optimizer.param_groups[0]["lr"]))


def test_lightning_counts_every_step_of_the_optimizer(config):
    wanted = config("schedule=constant")
    loaders, classifier = built(wanted)
    counted = Steps()
    trainer = build_trainer(wanted, counted)
    trainer.logger = DummyLogger()
    trainer.fit(classifier, loaders.train, loaders.val)

    steps = len(loaders.train.batches)
    assert counted.seen == [(steps * epoch, wanted.optimizer.lr) for epoch in (1, 2, 3)]


def test_mixed_labels_are_refused_by_a_loss_that_takes_an_index(config):
    with pytest.raises(ConfigError, match=r"augmentation.mixup: .*choose a loss that takes a dis"):
        run(config("loss=sparse_ce", "augmentation.mixup=0.2"))


def test_a_batch_that_cannot_be_cut_into_equal_parts_is_refused(config):
    with pytest.raises(ConfigError, match="expected a divisor of batch_size, got 64 and 5"):
        run(config("accumulate=5"))


def test_a_net_is_tried_on_as_few_images_as_a_part_of_a_batch_has(config):
    with pytest.raises(ConfigError, match="model: cannot train on a batch of shape"):
        run(config("batch_size=2", "accumulate=2", base=("data=digits", "model=resnet18")))


def test_parts_are_refused_where_a_graph_would_overwrite_their_gradients(config):
    with pytest.raises(ConfigError, match=r"expected machine\.compile=default or none"):
        run(config("accumulate=4", "machine.compile=reduce_overhead"))


def test_a_cutout_as_large_as_the_image_is_refused(config):
    with pytest.raises(ConfigError, match=r"cutout: expected below the images' 8 pixels"):
        run(config("augmentation.cutout=8"))


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a compiler")
def test_a_compiled_net_learns_what_an_eager_one_learns(config):
    eager, compiled = (
        run(config("loss=ce", f"machine.compile={mode}", folder=mode))
        for mode in ("none", "default")
    )

    assert compiled["tags"]["compile"] == "default"
    assert compiled["tags"]["key"] == eager["tags"]["key"]
    assert compiled["metrics"]["test/nll"] == pytest.approx(eager["metrics"]["test/nll"], rel=1e-3)


@pytest.mark.parametrize(
    ("override", "work", "threads"),
    [
        ("machine.threads=null", WORTH_THREADS / 2, 1),
        ("machine.threads=null", WORTH_THREADS * 2, None),
        ("machine.threads=2", WORTH_THREADS / 2, 2),
        ("machine.jobs=3", WORTH_THREADS * 2, 2),
    ],
)
def test_a_small_step_gets_one_thread_and_a_large_one_all_cores(
    config, monkeypatch, override, work, threads
):
    monkeypatch.setattr("xent_bench.training.trainer.processors", lambda jobs: 7 // jobs)
    before = torch.get_num_threads()
    try:
        use_threads(config("machine.threads=null", override), work)
        assert torch.get_num_threads() == (threads or 7)
    finally:
        torch.set_num_threads(before)
