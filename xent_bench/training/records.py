"""The records of a run while it is trained: its folder's first files, and its run in MLflow."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer

from xent_bench.arrays import SoftLabels
from xent_bench.conditions.noise_count import count_noise
from xent_bench.config.annotations import NOTES, PRETRAINED, annotation_tags
from xent_bench.config.design_keys import design_tag
from xent_bench.config.schema import Noise, TrainingTarget, plain, typed_tags
from xent_bench.data.account import account
from xent_bench.process.provenance import code_tags, provenance
from xent_bench.process.signals import Notice
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.data_account import save_account
from xent_bench.runs.files import CONFIG
from xent_bench.runs.noise_account import save_noise
from xent_bench.runs.reading import sealed_config
from xent_bench.runs.start import FIT, TRAINED, start_lines
from xent_bench.runs.whole_files import write_lasting
from xent_bench.tracking.logger import Tracking, open_run
from xent_bench.training.batch_statistics import batch_statistics
from xent_bench.training.build import Built
from xent_bench.training.checkpoint_files import load_origin
from xent_bench.training.origin import Origin, refuse_changes
from xent_bench.training.user_code import blaming

_CODE: WeakKeyDictionary[Trainer, dict[str, str]] = WeakKeyDictionary()


class Record(NamedTuple):
    """A run's records while it is trained: in its folder and in MLflow."""

    begun: Unfinished
    tags: dict[str, str]
    true_posterior: SoftLabels | None  # p(y|x) of the test images, where it is known
    tracking: Tracking
    earlier: float  # seconds of the epochs that an earlier process trained
    start: float  # of this process, by time.monotonic()

    def seconds(self) -> float:
        """Seconds that the run has taken: earlier epochs, and this process so far."""
        return self.earlier + time.monotonic() - self.start


@contextmanager
def recorded(
    config: DictConfig,
    built: Built,
    folder: Path,
    begun: Unfinished,
    checkpoint: Path | None,
    notice: Notice,
    start: float,
) -> Iterator[Record | None]:
    """Open the run's folder and its MLflow run, and yield its Record.

    DataError if data or code have changed since the checkpoint. Processes other than the first,
    which write nothing, get None.
    """
    if built.share.number > 0:
        yield None
        return
    with blaming("data", "when its p(y|x) was asked for"):
        posterior = built.data.true_posterior(built.splits.test)
    origin = Origin(begun.tags["key"], built.data.sha256(), built.splits.sha256(), built.code)
    if checkpoint is not None:
        refuse_changes(load_origin(checkpoint), origin, checkpoint)
    built.checkpointing.origin = origin._asdict()
    images = account(built.data, built.splits)
    noise = count_noise(built.data, built.splits, Noise(**plain(config.noise)))
    if noise is not None:
        images = replace(images, notes=images.notes | {"noise": noise[0].line()})
        save_noise(*noise, built.data.classes, folder)
    save_account(images, folder)
    write_lasting(folder / CONFIG, sealed_config(OmegaConf.to_yaml(config, resolve=True)))
    device, code = built.trainer.strategy.root_device, _code_tags(built.trainer)
    tags = provenance(device, built.share.of, code) | origin.tags()
    tags |= {"compile": config.machine.compile.value}
    tags |= annotation_tags(config.notes, typed_tags(config)) | design_tag(config)
    tags |= _batch_statistics(config, built, begun, is_new=checkpoint is None)
    if noise is not None:
        tags |= noise[0].tags()
    tags |= _trained_weights(built, begun, is_new=checkpoint is None)
    if checkpoint is None:  # a run that goes on has printed them
        for remark in built.classifier.remarks:
            print(f"{begun.name}: {remark}", file=sys.stderr, flush=True)
    tags |= _ties_of_votes(config, built, begun, is_new=checkpoint is None)
    tags |= {name: begun.tags[name] for name in PRETRAINED if name in begun.tags}
    if built.weights:
        tags[FIT] = built.weights
    begun.tags.update(tags, n_test=str(len(built.splits.test)))
    begun.tags["mlflow.note.content"] = _description(tags, folder, begun.command)
    print(*start_lines(begun.params, tags, images), sep="\n", flush=True)
    machine = config.machine
    notice.listen()  # until now nothing is lost, and data may be long in coming
    with open_run(folder, begun, machine.tracking, offline=machine.offline) as tracking:
        built.trainer.logger = tracking
        yield Record(begun, tags, posterior, tracking, tracking.curves.seconds(), start)


def _code_tags(trainer: Trainer) -> dict[str, str]:
    """The commit of the code, asked once for the runs of a group, which begin at one instant."""
    if trainer not in _CODE:
        _CODE[trainer] = code_tags()
    return _CODE[trainer]


def _batch_statistics(
    config: DictConfig, built: Built, begun: Unfinished, *, is_new: bool
) -> dict[str, str]:
    """The tag of a net that depends on how many images it normalises at once; warns of it once."""
    statistics = batch_statistics(built.classifier.net, config.batch_size, config.accumulate)
    if statistics is None:
        return {}
    tag, warning = statistics
    if is_new:  # a run that goes on has printed it
        print(f"{begun.name}: {warning}", file=sys.stderr, flush=True)
    return {"batch_statistics": tag}


def _trained_weights(built: Built, begun: Unfinished, *, is_new: bool) -> dict[str, str]:
    """The tag of a net that is trained in part; warns once if its other layers are random."""
    trainable = begun.params.get("model.trainable")
    if trainable is None:
        return {}
    if is_new and "model.weights" not in begun.params:
        print(
            f"{begun.name}: model.trainable={trainable} without model.weights: the layers that are "
            "not trained keep their random weights",
            file=sys.stderr,
            flush=True,
        )
    weights = [*built.classifier.net.parameters()]
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    return {TRAINED: f"{trained:,} of {sum(weight.numel() for weight in weights):,}"}


def _ties_of_votes(
    config: DictConfig, built: Built, begun: Unfinished, *, is_new: bool
) -> dict[str, str]:
    """The tag of a run on majorities that counts the images without one; warns of them once."""
    ids = built.splits.train
    if config.target is not TrainingTarget.majority or not built.data.has_votes:
        return {}
    ties = built.data.tied(ids)
    if ties and is_new:
        print(
            f"{begun.name}: target=majority: votes are tied for {ties:,} of {len(ids):,} images of "
            "train, which get the first of the tied classes in the order of classes",
            file=sys.stderr,
            flush=True,
        )
    return {"tied_majorities": f"{ties:,} of {len(ids):,}"}


def _description(tags: dict[str, str], folder: Path, command: str) -> str:
    """The description of the run in MLflow, in Markdown."""
    commit = f" at commit `{tags['commit'][:10]}`" if "commit" in tags else ""
    dirty = " (with uncommitted changes)" if tags.get("dirty") == "true" else ""
    notes = f"{tags[NOTES]}\n\n" if NOTES in tags else ""
    return (
        f"{notes}To reproduce{commit}{dirty}:\n\n    {command}\n\n"
        f"Run folder: `{folder}`. Every `test/*` value was measured once, after training; "
        "`test_ts/*` is the same after temperature scaling fitted on calib. `*/loss` is in the "
        "loss's own unit: compare losses by `*/nll`, `*/brier` and accuracy."
    )
