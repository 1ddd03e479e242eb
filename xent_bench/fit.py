"""One training run, from its config to `result.json`."""

import hashlib
import math
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from torch import nn

from xent_bench.build import Loaders, build_classifier, build_loaders
from xent_bench.checkpoint import last_checkpoint, save_weights
from xent_bench.checkpointing import Checkpointing
from xent_bench.classifier import ADVICE, Classifier
from xent_bench.configure import ConfigError, configured
from xent_bench.data.batches import Batches
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import split
from xent_bench.evaluation import evaluate
from xent_bench.failures import Diverged, named
from xent_bench.predictions import Predicted, Predictions, predicted, save
from xent_bench.preemption import Notice, Preempted
from xent_bench.progress import Progress
from xent_bench.provenance import provenance
from xent_bench.run_pictures import draw_pictures
from xent_bench.runs import Run, Unfinished, save_begun, save_run
from xent_bench.schema import run_key, run_name, science
from xent_bench.tracking.logger import open_run
from xent_bench.trainer import build_trainer, use_threads


def fit(config: DictConfig, folder: Path, command: str, notice: Notice) -> None:
    """Train, evaluate, and move `result.json` into the folder when all else is written."""
    begun = Unfinished(run_name(config), config.experiment, science(config), command)
    save_begun(begun, folder)
    try:
        _fit(config, folder, command, notice)
    except BaseException as error:
        told = named(error)
        with suppress(OSError):  # what went wrong first is what the user must see
            save_begun(replace(begun, reason=_reason(told)), folder)
        if told is error:
            raise
        raise told from error


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt | Preempted):
        return str(error) or "interrupted"
    return f"{type(error).__name__}: {error}"


def _fit(config: DictConfig, folder: Path, command: str, notice: Notice) -> None:
    start = time.monotonic()
    checkpointing = Checkpointing(folder, config.machine.checkpoint_minutes, notice)
    trainer = build_trainer(config, checkpointing, Progress(run_name(config), folder))
    data = _load(config)
    splits = split(data, config.seed)
    loaders = build_loaders(config, data, splits, trainer.strategy.root_device)
    classifier, flops = build_classifier(config, data, splits, loaders)
    use_threads(config, 3 * flops * config.batch_size)  # backward costs twice what forward does
    _save_config(config, folder)
    tags = provenance(trainer.strategy.root_device) | {
        "key": run_key(config),
        "compile": config.machine.compile.value,
        "data_sha256": data.sha256(),
        "split_sha256": splits.sha256(),
    }
    with open_run(
        folder,
        uri=config.machine.tracking,
        experiment=config.experiment,
        name=run_name(config),
        params=science(config),
        tags=tags
        | {"command": command, "n_test": str(len(splits.test))}
        | {"mlflow.note.content": _note(tags, folder, command)},
    ) as tracking:
        tracking.log_file(folder / "config.yaml")
        earlier = tracking.curves.seconds()
        trainer.logger = tracking
        try:
            trainer.fit(classifier, loaders.train, loaders.val, ckpt_path=_begun(config, folder))
        except SystemExit as stop:  # what Lightning makes of a second Ctrl-C
            raise KeyboardInterrupt from stop
        predictions = _predict(trainer, classifier, loaders, data.classes)
        save(predictions, folder / "predictions.npz")
        evaluation = evaluate(predictions, [config.calibrator.name])
        metrics, words, _ = evaluation
        speed = tracking.curves.speed(len(splits.train))
        seconds = round(earlier + time.monotonic() - start, 2)
        cost = {"time/seconds": seconds}
        if speed is not None:
            cost["time/examples_per_second"] = speed
        tracking.log_metrics(metrics | cost, step=0)
        tracking.log_file(folder / "predictions.npz")
        if config.machine.save_weights:
            tracking.log_file(save_weights(folder))
        for file in draw_pictures(evaluation, data.classes, science(config), folder / "pictures"):
            tracking.log_file(file, "pictures")
        infinite = [key for key, value in metrics.items() if value == math.inf]
        if infinite:  # which MLflow would draw as 1.8e308
            words["infinite"] = " ".join(infinite)
        tags |= words
        tags["weights_sha256"] = weights_sha256(classifier.net)
        tracking.set_tags(words | {"weights_sha256": tags["weights_sha256"]})
    result = Run(
        name=run_name(config),
        experiment=config.experiment,
        params=science(config),
        metrics=tracking.curves.last_val() | metrics,
        tags=tags | {"mlflow_run_id": tracking.run_id},
        command=command,
        n_test=len(splits.test),
        seconds=seconds,
        examples_per_second=speed,
    )
    save_run(result, folder)


def _begun(config: DictConfig, folder: Path) -> Path | None:
    """The checkpoint to go on from."""
    last, damaged = last_checkpoint(folder)
    for file in damaged:
        where = f"from {last.name}" if last else "from the start"
        print(f"{run_name(config)}: {file} is damaged; going on {where}", flush=True)
    return last


def _load(config: DictConfig) -> ImageSet:
    data = configured(config, "data")()
    if not isinstance(data, ImageSet):
        raise ConfigError("data._target_", f"expected it to return an ImageSet, got {type(data)}")
    return data


def weights_sha256(net: nn.Module) -> str:
    """A hash of every weight and buffer, bit for bit."""
    content = hashlib.sha256()
    for name, tensor in sorted(net.state_dict().items()):
        content.update(name.encode())
        content.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return content.hexdigest()


def _predict(
    trainer: Trainer, classifier: Classifier, loaders: Loaders, classes: tuple[str, ...]
) -> Predictions:
    """Outputs on calib and on test, in float32 on the CPU."""
    calib, test = (
        _predict_split(trainer, classifier, name, getattr(loaders, name))
        for name in ("calib", "test")
    )
    return Predictions(calib, test, classifier.link, classes)


def _predict_split(
    trainer: Trainer, classifier: Classifier, split: str, batches: Batches
) -> Predicted:
    found = cast(Any, trainer.predict(classifier, cast(Any, batches)))
    outputs, target, ids = (torch.cat(part).cpu().numpy() for part in zip(*found, strict=True))
    if not np.isfinite(outputs).all():
        raise Diverged(f"outputs on {split} are not finite: {ADVICE}")
    return predicted(split, outputs, target, ids, batches.ids.cpu().numpy())


def _save_config(config: DictConfig, folder: Path) -> None:
    """Everything that was asked for, resolved."""
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))


def _note(tags: dict[str, str], folder: Path, command: str) -> str:
    commit = f" at commit `{tags['commit'][:10]}`" if "commit" in tags else ""
    dirty = " (with uncommitted changes)" if tags.get("dirty") == "true" else ""
    return (
        f"To reproduce{commit}{dirty}:\n\n    {command}\n\n"
        f"Run folder: `{folder}`. Every `test/*` value was measured once, after training; "
        "`test_ts/*` is the same after temperature scaling fitted on calib. `*/loss` is in the "
        "loss's own unit: compare losses by `*/nll`, `*/brier` and accuracy."
    )
