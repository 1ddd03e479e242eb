"""The building of a run from its parts; no loss, net or data set is known here by its name."""

import math
from collections.abc import Collection
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

import torch
from omegaconf import DictConfig
from pytorch_lightning import Trainer
from torch import Tensor, nn

from xent_bench.conditions.conditioned import conditioned
from xent_bench.config.configure import ConfigError
from xent_bench.config.identity import run_name
from xent_bench.config.parts import Parts
from xent_bench.config.schema import GROUPS, Compile, Precision, plain
from xent_bench.config.shift_asked import shift_asked
from xent_bench.data.augment import Augmentation
from xent_bench.data.batches import WHOLE, Batches, Share, ShuffledBatches, pixels
from xent_bench.data.groups import Groups
from xent_bench.data.image_cache import kept
from xent_bench.data.image_set import ImageSet
from xent_bench.data.resident import refuse_larger_than_gpu
from xent_bench.data.split import Splits, split
from xent_bench.data.vectors import Vectors
from xent_bench.links import link_of
from xent_bench.offer import offer
from xent_bench.pretrained.build import Begun, begin
from xent_bench.process.gather import agreed
from xent_bench.process.signals import Notice
from xent_bench.shift.refusals import refuse_unfit
from xent_bench.training.best_epoch import best_epoch, check_metric
from xent_bench.training.classifier import Classifier
from xent_bench.training.decoders_of import decoders_of
from xent_bench.training.exported_link import refuse_unfit_link
from xent_bench.training.nets_of_images import refuse_convolutions, refused_for_vectors
from xent_bench.training.noise_curves import noise_curves
from xent_bench.training.origin import code_of_parts
from xent_bench.training.progress import Progress
from xent_bench.training.saving import Checkpointing
from xent_bench.training.seen_labels import seen_counts, seen_labels
from xent_bench.training.trainable import freeze, trained
from xent_bench.training.trainer import build_trainer, use_threads
from xent_bench.training.try_out import try_out
from xent_bench.training.user_code import blaming

# The largest batch where no gradient is kept: in examples, and in values of all their pixels.
EVALUATION_BATCH, EVALUATION_VALUES = 1000, 2**25


class Loaders(NamedTuple):
    """Batches of each split, on the training device."""

    train: Groups[ShuffledBatches]
    val: Batches
    calib: Batches
    test: Batches


class Built(NamedTuple):
    """A run that is ready to be trained."""

    trainer: Trainer
    classifier: Classifier
    loaders: Loaders
    data: ImageSet
    splits: Splits
    share: Share  # of every batch, for this process
    checkpointing: Checkpointing
    code: dict[str, dict[str, str]]  # hashes of the modules behind each part
    weights: str  # a line on the file that the net begins with; empty without


def build(config: DictConfig, parts: Parts, folder: Path, notice: Notice) -> Built:
    """Load the images and build the net; what a user can get wrong is refused here."""
    # first: to read the images may take minutes, in which files are edited
    code = code_of_parts({group: config[group]["_target_"] for group in GROUPS})
    checkpointing = Checkpointing(folder, config.machine, notice)
    trainer = build_trainer(
        config, checkpointing, Progress(run_name(config), folder, config.epochs)
    )
    data = kept(load(parts), config.machine.cache, config.epochs)
    data, splits = conditioned(data, split(data, config.seed), config)
    refuse_unfit(shift_asked(config), data, splits.test)
    share = Share(trainer.global_rank, trainer.world_size)
    device = trainer.strategy.root_device
    loaders = build_loaders(config, parts, data, splits, device, share)
    classifier, flops, line = build_classifier(config, parts, data, splits, loaders)
    use_threads(config, 3 * flops * config.batch_size)  # backward costs twice what forward does
    return Built(trainer, classifier, loaders, data, splits, share, checkpointing, code, line)


def load(parts: Parts) -> ImageSet:
    """Load the data set, and refuse images that cannot be read."""
    data = load_unchecked(parts.data)
    data.check_files()
    return data


def load_unchecked(function: "partial[Any]") -> ImageSet:
    """Load the data set; its files, which may be damaged, are not looked at."""
    with blaming("data", "when it was loaded"):
        data = function()
    if not isinstance(data, ImageSet):
        raise ConfigError("data._target_", f"expected it to return an ImageSet, got {type(data)}")
    return data


def build_loaders(
    config: DictConfig,
    parts: Parts,
    data: ImageSet,
    splits: Splits,
    device: torch.device,
    share: Share = WHOLE,
) -> Loaders:
    """Move images and labels to the device once, normalised as the train split says.

    `share` says which examples of each batch, and of each split to evaluate, this process reads.
    """
    least = min(map(len, splits[1:]))
    if share.of > least:
        raise ConfigError("machine.devices", f"expected at most {least}, images of a split")
    if config.batch_size > len(splits.train):
        raise ConfigError("batch_size", _too_large(config.batch_size, splits, data))
    if isinstance(data.images, Tensor):
        lengths = [len(ids.tensor_split(share.of)[share.number]) for ids in splits[1:]]
        lengths.insert(0, len(splits.train))
        refuse_larger_than_gpu(lengths, data.shape, data.augmentation, device)
    normalise = data.normalisation(splits.train)
    workers, timeout = decoders_of(config.machine), config.machine.worker_timeout or None
    train = ShuffledBatches(
        data.source(splits.train, device, workers, varied=True, timeout=timeout),
        data.labels[splits.train],
        normalise,
        config.batch_size,
        encode=seen_labels(config, parts.target, data, splits, device),
        augmentation=_augmentation(config, data),
        seed=config.seed,
        share=share,
        weights=data.training_weights(splits.train),
    )
    evaluated = (
        Batches(
            data.source(share_ids, device, workers, timeout=timeout),
            (data.labels[share_ids],),
            share_ids,
            normalise,
            evaluation_batch(data),
            ids,
        )
        for ids in splits[1:]
        for share_ids in [ids.tensor_split(share.of)[share.number]]
    )
    return Loaders(Groups(train, agreed if share.of > 1 else int), *evaluated)


def _too_large(batch_size: int, splits: Splits, data: ImageSet) -> str:
    """The refusal of a batch larger than train, with a size that leaves a few steps an epoch."""
    n = len(splits.train)
    others = "val, calib and test"
    if sum(map(len, splits)) < len(data.images):
        others += ", or left out by imbalance or train_fraction"
    proposed = 2 ** max(0, (n // 4).bit_length() - 1)
    return (
        f"expected at most the {n} images of train (of {len(data.images)} images; the others are "
        f"{others}), got {batch_size}: batch_size={proposed} gives {n // proposed} "
        "steps an epoch"
    )


def evaluation_batch(data: ImageSet) -> int:
    """The number of images in a batch of which no gradient is kept."""
    return max(1, min(EVALUATION_BATCH, EVALUATION_VALUES // math.prod(data.shape)))


def _augmentation(config: DictConfig, data: ImageSet) -> Augmentation:
    size = min(data.shape[1:])
    for name in ("cutout", "cutmix") if isinstance(data.images, Vectors) else ():
        if config.augmentation[name]:
            raise ConfigError(
                f"augmentation.{name}",
                "cuts rectangles of pixels, and these are vectors; expected 0, or "
                "augmentation.mixup, which mixes whole vectors",
            )
    if config.augmentation.cutout >= size:
        got = config.augmentation.cutout
        raise ConfigError("augmentation.cutout", f"expected below the images' {size} pixels: {got}")
    return data.augmentation._replace(**plain(config.augmentation))


def build_net(config: DictConfig, parts: Parts, data: ImageSet) -> Begun:
    """Build the net with weights from the seed alone, the same for every loss, or from a file."""
    target = config.model["_target_"]
    with blaming("model", "when it was built"):
        with refused_for_vectors(data, target):
            begun = begin(
                parts.model,
                data.shape,
                len(data.classes),
                config.seed,
                options=parts.net_options,
                weights=parts.weights,
                class_names=data.classes,
            )
        refuse_convolutions(begun.net, data, target)
        return begun._replace(net=begun.net.to(memory_format=torch.channels_last))


def build_classifier(
    config: DictConfig, parts: Parts, data: ImageSet, splits: Splits, loaders: Loaders
) -> tuple[Classifier, float, str]:
    """Build the net, and try it out with the loss and the optimizer.

    Also returns the FLOPs of a forward pass for one image, and a line on the file that the net
    begins with.
    """
    begun = build_net(config, parts, data)
    net = begun.net
    training = trained(net, len(data.classes), parts.net_options.trainable)
    freeze(net, training.parts.frozen)
    if not any(weights.requires_grad for weights in net.parameters()):
        raise ConfigError("model", "expected weights that require a gradient, got none to train")
    if loaders.train.batches.share.of > 1:
        device = loaders.train.batches.source.device
        net = _normalising_together(net, device, training.at_rest)
    counts = seen_counts(config, data, splits)
    loss = offer(parts.loss, class_counts=counts)
    if "class_counts" in loss.keywords and 0 in counts:
        absent = data.classes[int(counts.argmin())]
        raise ConfigError("loss", f"needs an image of every class in train, got none of {absent}")
    train, mode = loaders.train.batches, config.machine.compile
    classifier = Classifier(
        net,
        offer(parts.loss, class_counts=counts.to(train.source.device)),
        link_of(loss),
        offer(parts.optimizer, net_parts=training.parts),
        partial(parts.schedule, steps=config.epochs * len(train)),
        config.seed,
        groups=loaders.train,
        encode=train.encode,
        batch_size=config.batch_size // train.share.of,
        pixels=math.prod(data.shape),
        accumulate=config.accumulate,
        clip_norm=config.clip_norm,
        bf16=config.precision is Precision.bf16,
        compile_mode=None if mode is Compile.none else mode.value,
        ema=config.ema,
        best_epoch=best_epoch(config),
        at_rest=[module for name, module in net.named_modules() if name in training.at_rest],
        noise_curves=noise_curves(config, data, splits, evaluation_batch(data), loaders.val),
    )
    # read by a source of its own: the workers of train would begin an epoch for them
    few = splits.train[: min(2, config.batch_size // config.accumulate // train.share.of)]
    source = data.source(few, train.source.device, workers=0)
    rows = next(iter(source.batches(torch.arange(len(few)), len(few))))
    images = pixels(train.normalise(rows), data.shape)
    target = train.encode(data.labels[few].to(images.device))
    steps = config.epochs * len(train)
    flops = try_out(classifier, images, target, len(data.classes), steps, way_out(parts))
    if config.machine.log_model:
        refuse_unfit_link(classifier.link, len(data.classes))
    if classifier.best_epoch is not None:
        labels = data.labels[splits.val]
        check_metric(config.choose_by, classifier.link, labels, len(data.classes))
    return classifier, flops, begun.line


def way_out(parts: Parts) -> str:
    """The advice for images of a size that the net cannot take; empty if it resizes none."""
    if "size" not in signature(parts.model.func).parameters:
        return ""
    return "; model.size=224 resizes images within the net"


def _normalising_together(
    net: nn.Module, device: torch.device, at_rest: Collection[str]
) -> nn.Module:
    """Let batch normalisation use the statistics of whole batches, spread over the processes.

    Modules `at_rest` use stored statistics, which are the same in every process.
    """
    if device.type == "cuda":
        together: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]  # torch's
        return together
    kind = nn.modules.batchnorm._BatchNorm
    active = (module for name, module in net.named_modules() if name not in at_rest)
    if any(isinstance(module, kind) for module in active):
        raise ConfigError(
            "machine.devices",
            "the net normalises by the statistics of a batch, which PyTorch can share between "
            "GPUs only; expected 1 on a CPU, or another model",
        )
    return net
