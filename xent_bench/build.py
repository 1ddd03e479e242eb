"""The parts of a run, built from its config: the only place that builds, and it names no part."""

import logging
import warnings
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from xent_bench.checkpoint import AtomicCheckpointIO
from xent_bench.classifier import Classifier
from xent_bench.configure import ConfigError, configured
from xent_bench.data.batches import Batches, Normalisation, ShuffledBatches
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits
from xent_bench.failures import Unavailable
from xent_bench.links import link_of
from xent_bench.offer import offer
from xent_bench.randomness import derived_seed
from xent_bench.schema import Precision
from xent_bench.targets import encode, target_kind

EVALUATION_BATCH = 1000  # examples at a time where no gradient is kept


class Loaders(NamedTuple):
    """The batches of each split, on the training device."""

    train: ShuffledBatches
    val: Batches
    calib: Batches
    test: Batches


def build_trainer(config: DictConfig, folder: Path, callback: Callback) -> Trainer:
    """Lightning's Trainer: one device, a checkpoint at the end of every epoch."""
    _quieten()
    if config.machine.threads is not None:
        torch.set_num_threads(config.machine.threads)
    # torch's default is neither: TF32 in convolutions, not in matrix products
    tf32 = config.precision is Precision.tf32
    torch.backends.cudnn.allow_tf32 = tf32
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        return Trainer(
            accelerator=config.machine.accelerator.value,
            devices=1,
            precision="bf16-mixed" if config.precision is Precision.bf16 else "32-true",
            deterministic=config.machine.deterministic,
            max_epochs=config.epochs,
            callbacks=[_checkpoint_of_every_epoch(folder), callback],
            # not SLURM's: its requeue saves inside a signal handler, in the middle of a step
            plugins=[AtomicCheckpointIO(), LightningEnvironment()],
            logger=False,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (RuntimeError, MisconfigurationException) as error:
        raise _no_device(config, error) from error


def _checkpoint_of_every_epoch(folder: Path) -> ModelCheckpoint:
    """last.ckpt, replaced at the end of each epoch, after val was scored.

    Not `save_last=True, save_top_k=0`, which in Lightning 2.6 saves after the last epoch alone.
    """
    return ModelCheckpoint(
        folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False
    )


def build_loaders(
    config: DictConfig, data: ImageSet, splits: Splits, device: torch.device
) -> Loaders:
    """Images and targets moved to the device once; normalised as the train split says."""
    if config.batch_size > len(splits.train):
        n = len(splits.train)
        raise ConfigError("batch_size", f"expected at most the {n} images of train")
    kind = target_kind(configured(config, "loss").func)
    target = encode(data.labels, kind, len(data.classes))
    normalise = Normalisation.of(data.images[splits.train])
    images = [data.images[ids].to(device) for ids in splits]
    labels = [(target[ids].to(device), data.index[ids].to(device)) for ids in splits]
    places = [ids.to(device) for ids in splits]
    train = ShuffledBatches(
        images[0],
        labels[0][:1],
        places[0],
        normalise,
        config.batch_size,
        seed=config.seed,
        augmentation=data.augmentation,
    )
    evaluated = zip(images[1:], labels[1:], places[1:], strict=True)
    return Loaders(train, *(Batches(*each, normalise, EVALUATION_BATCH) for each in evaluated))


def build_classifier(
    config: DictConfig, data: ImageSet, splits: Splits, loaders: Loaders
) -> Classifier:
    """Initial weights from the seed alone: the same for every loss."""
    torch.manual_seed(derived_seed(config.seed, "initial weights"))
    net: nn.Module = configured(config, "model")(tuple(data.images.shape[1:]), len(data.classes))
    net = net.to(memory_format=torch.channels_last)
    loss = configured(config, "loss")
    counts = data.index[splits.train].bincount(minlength=len(data.classes))
    if "class_counts" in offer(loss, class_counts=counts).keywords and 0 in counts:
        absent = data.classes[int(counts.argmin())]
        raise ConfigError("loss", f"needs an image of every class in train, got none of {absent}")
    classifier = Classifier(
        net,
        offer(loss, class_counts=counts.to(loaders.train.images.device)),
        link_of(offer(loss, class_counts=counts)),
        configured(config, "optimizer"),
        partial(configured(config, "schedule"), steps=config.epochs * len(loaders.train)),
        config.seed,
    )
    _try_out(classifier, loaders.train, len(data.classes))
    return classifier


def _try_out(classifier: Classifier, batches: Batches, classes: int) -> None:
    """Call net and loss once: what a user can get wrong fails before the first epoch."""
    images, target, *_ = (part[:2] for part in next(iter(batches)))
    net = deepcopy(classifier.net)  # a batch changes the statistics of batch normalisation
    try:
        with torch.no_grad():
            logits = net(images.cpu()).to(target.device)
    except (RuntimeError, ValueError) as error:  # an image too small, a single one to normalise
        shape = tuple(images.shape)
        raise ConfigError("model", f"cannot train on a batch of shape {shape}: {error}") from error
    expected = (len(images), classes)
    if logits.shape != expected:
        got = tuple(logits.shape)
        raise ConfigError("model", f"expected outputs of shape {expected}, got {got}")
    _try_loss(classifier, torch.zeros_like(logits), target)
    try:
        classifier.optimizer(net)
    except ValueError as error:
        raise ConfigError("optimizer", str(error)) from error


def _try_loss(classifier: Classifier, logits: Tensor, target: Tensor) -> None:
    """Its value at equal outputs, its link at others."""
    unequal = np.arange(logits.shape[1], dtype=float)[None].repeat(2, axis=0)
    try:
        value: Any = classifier.loss(logits.requires_grad_(), target)
        probabilities: Any = classifier.link(unequal)
        sums = None if probabilities is None else np.exp(probabilities).sum(axis=1)
    except Exception as error:  # whatever somebody's loss raises
        raise ConfigError("loss", f"{type(error).__name__}: {error}") from error
    expected = tuple(logits.shape[:1])
    if not isinstance(value, Tensor) or value.shape != expected or not value.requires_grad:
        kind = f"{tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise ConfigError(
            "loss", f"expected one value an example, {expected}, with a gradient, got {kind}"
        )
    if not bool(value.isfinite().all()):
        raise ConfigError("loss", f"expected finite values at equal outputs, got {value[0].item()}")
    if sums is not None and not (np.shape(sums) == (2,) and np.allclose(sums, 1, atol=1e-4)):
        raise ConfigError("loss", f"expected its link's probabilities to sum to 1, got {sums}")
    link = classifier.link.func.__qualname__
    if "<" in link:  # its predictions are read again by the link's name
        raise ConfigError("loss", f"expected its link at the top level of a module, got {link}")


def _no_device(config: DictConfig, error: Exception) -> Unavailable:
    reason = str(error).partition("\n")[0]
    return Unavailable(f"machine.accelerator={config.machine.accelerator.name}: {reason}")


def _quieten() -> None:
    """Silence what Lightning says to everybody: which devices there are, what else it sells."""
    for noisy in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module=noisy)
