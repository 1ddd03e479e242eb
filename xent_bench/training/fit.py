"""One training run, from its config to `result.json`."""

import math
import signal
import sys
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from pytorch_lightning.utilities.exceptions import SIGTERMException

from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.identity import run_key, run_name
from xent_bench.config.schema import GROUPS
from xent_bench.data.batches import Batches, Part
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import split
from xent_bench.evaluation.draw import draw_pictures
from xent_bench.evaluation.evaluate import evaluate
from xent_bench.failures import Diverged
from xent_bench.metrics.last_tenth import last_tenth
from xent_bench.process import garbage
from xent_bench.process.gather import gathered
from xent_bench.process.provenance import provenance
from xent_bench.process.signals import Notice, Preempted
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.predictions import Predicted, Predictions, predicted, save
from xent_bench.runs.result import Run, save_run
from xent_bench.runs.whole_files import write_lasting
from xent_bench.tracking.logger import open_run
from xent_bench.trained_net.record import net_record, save_record
from xent_bench.training.batch_statistics import batch_statistics
from xent_bench.training.build import Loaders, build_classifier, build_loaders
from xent_bench.training.checkpoint_files import load_origin, save_weights, weights_sha256
from xent_bench.training.classifier import Classifier
from xent_bench.training.exhausted import blaming
from xent_bench.training.origin import Origin, code_of_parts, refuse_changes
from xent_bench.training.progress import Progress
from xent_bench.training.saving import Checkpointing
from xent_bench.training.trainer import build_trainer, use_threads
from xent_bench.training.validation import ADVICE


def fit(
    config: DictConfig,
    folder: Path,
    begun: Unfinished,
    checkpoint: Path | None,
    notice: Notice,
) -> None:
    """Train, evaluate, and move `result.json` into the folder when all else is written.

    From the checkpoint on, if there is one; or as one of the processes that do it together.
    """
    start = time.monotonic()
    code = _code(config)  # first: to read the images may take minutes, in which files are edited
    checkpointing = Checkpointing(folder, config.machine, notice)
    trainer = build_trainer(config, checkpointing, Progress(run_name(config), folder))
    data = _load(config)
    splits = split(data, config.seed)
    part = Part(trainer.global_rank, trainer.world_size)
    loaders = build_loaders(config, data, splits, trainer.strategy.root_device, part)
    classifier, flops = build_classifier(config, data, splits, loaders)
    use_threads(config, 3 * flops * config.batch_size)  # backward costs twice what forward does
    if part.number > 0:  # the first process does all that is done once
        _train(trainer, classifier, loaders, checkpoint)
        return
    with blaming("data", "when its p(y|x) was asked for"):
        posterior = data.true_posterior(splits.test)
    origin = Origin(run_key(config), data.sha256(), splits.sha256(), code)
    if checkpoint is not None:
        refuse_changes(load_origin(checkpoint), origin, checkpoint)
    checkpointing.origin = origin._asdict()
    _save_config(config, folder)
    tags = provenance(trainer.strategy.root_device, part.of) | origin.tags()
    tags["compile"] = config.machine.compile.value
    batches = batch_statistics(classifier.net, config.batch_size, config.accumulate)
    if batches is not None:
        tags["batch_statistics"], warning = batches
        if checkpoint is None:  # a run that goes on has said it
            print(f"{begun.name}: {warning}", file=sys.stderr, flush=True)
    begun.tags.update(tags, n_test=str(len(splits.test)))
    begun.tags["mlflow.note.content"] = _note(tags, folder, begun.command)
    machine = config.machine
    notice.listen()  # until now nothing is lost, and data may be long in coming
    with open_run(folder, begun, machine.tracking, offline=machine.offline) as tracking:
        earlier = tracking.curves.seconds()
        trainer.logger = tracking
        calib, test = _train(trainer, classifier, loaders, checkpoint)
        predictions = Predictions(calib, test, classifier.link, data.classes, posterior)
        save(predictions, folder / "predictions.npz")
        with blaming("loss", "when its link read the predictions"):
            evaluation = evaluate(predictions, [config.calibrator.name])
        metrics, words, _ = evaluation
        speed = tracking.curves.speed(len(splits.train))
        seconds = round(earlier + time.monotonic() - start, 2)
        if machine.save_weights:
            save_weights(folder)
        draw_pictures(evaluation, data.classes, begun.params, folder / "pictures")
        on_val = tracking.curves.last_val() | last_tenth(tracking.curves.steps)
        infinite = [key for key, value in (on_val | metrics).items() if value == math.inf]
        if infinite:  # which MLflow would draw as 1.8e308
            words["infinite"] = " ".join(infinite)
        tags |= words
        tags["weights_sha256"] = weights_sha256(classifier.net)
        record = net_record(
            config,
            data,
            loaders.test,
            predictions.link,
            metrics,
            tags,
            threads=torch.get_num_threads(),
            processes=part.of,
        )
        save_record(record, folder)
        if tracking.run_id is not None:
            tags["mlflow_run_id"] = tracking.run_id
        result = Run(
            name=begun.name,
            experiment=begun.experiment,
            params=begun.params,
            metrics=on_val | metrics,
            tags=tags,
            command=begun.command,
            n_test=len(splits.test),
            seconds=seconds,
            examples_per_second=speed,
        )
        save_run(result, folder)  # done: what follows is MLflow's


def _train(
    trainer: Trainer, classifier: Classifier, loaders: Loaders, checkpoint: Path | None
) -> tuple[Predicted, Predicted]:
    """From where it was interrupted; what is predicted on calib and on test, in float32."""
    garbage.resume()
    try:
        trainer.fit(classifier, loaders.train, loaders.val, ckpt_path=checkpoint)
        return (
            _predict(trainer, classifier, "calib", loaders.calib),
            _predict(trainer, classifier, "test", loaders.test),
        )
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):  # Lightning's word for it
            raise KeyboardInterrupt from stop
        if isinstance(stop, SIGTERMException):  # which came before we listened
            raise Preempted(signal.SIGTERM) from stop
        raise


def _predict(trainer: Trainer, classifier: Classifier, split: str, batches: Batches) -> Predicted:
    found = cast(Any, trainer.predict(classifier, cast(Any, batches)))
    outputs, target, ids = (
        gathered(torch.cat(part)).cpu().numpy() for part in zip(*found, strict=True)
    )
    if not np.isfinite(outputs).all():
        raise Diverged(f"outputs on {split} are not finite: {ADVICE}")
    return predicted(split, outputs, target, ids, batches.split_ids.cpu().numpy())


def _code(config: DictConfig) -> dict[str, dict[str, str]]:
    """Hashes of the code of each part, as it is imported."""
    for group in GROUPS:
        configured(config, group)
    return code_of_parts({group: config[group]["_target_"] for group in GROUPS})


def _load(config: DictConfig) -> ImageSet:
    with blaming("data", "when it was loaded"):
        data = configured(config, "data")()
    if not isinstance(data, ImageSet):
        raise ConfigError("data._target_", f"expected it to return an ImageSet, got {type(data)}")
    return data


def _save_config(config: DictConfig, folder: Path) -> None:
    """Everything that was asked for, resolved."""
    write_lasting(folder / "config.yaml", OmegaConf.to_yaml(config, resolve=True))


def _note(tags: dict[str, str], folder: Path, command: str) -> str:
    commit = f" at commit `{tags['commit'][:10]}`" if "commit" in tags else ""
    dirty = " (with uncommitted changes)" if tags.get("dirty") == "true" else ""
    return (
        f"To reproduce{commit}{dirty}:\n\n    {command}\n\n"
        f"Run folder: `{folder}`. Every `test/*` value was measured once, after training; "
        "`test_ts/*` is the same after temperature scaling fitted on calib. `*/loss` is in the "
        "loss's own unit: compare losses by `*/nll`, `*/brier` and accuracy."
    )
