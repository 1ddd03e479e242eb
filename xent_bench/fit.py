"""One training run, from its config to `result.json`."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from torch import nn

from xent_bench.build import Loaders, build_classifier, build_loaders, build_trainer
from xent_bench.classifier import Classifier, evaluate
from xent_bench.configure import ConfigError, configured
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits, split
from xent_bench.failures import Unavailable
from xent_bench.metrics.score import score_outputs
from xent_bench.metrics.temperature import BOUNDS, fit_temperature, scale
from xent_bench.progress import Progress
from xent_bench.provenance import provenance
from xent_bench.schema import run_key, run_name, science
from xent_bench.tracking import open_run
from xent_bench.types import Index, Logits


def fit(config: DictConfig, folder: Path, command: str) -> None:
    """Train, evaluate, and move `result.json` into the folder when all else is written."""
    try:
        _fit(config, folder, command)
    except (RuntimeError, MemoryError) as error:  # torch's OutOfMemoryError is a RuntimeError
        if "out of memory" in str(error) or "allocate" in str(error):
            raise Unavailable(f"not enough memory: {str(error).partition(chr(10))[0]}") from error
        raise


def _fit(config: DictConfig, folder: Path, command: str) -> None:
    start = time.monotonic()
    trainer = build_trainer(config, folder, Progress(run_name(config)))
    data = _load(config)
    splits = split(data, config.seed)
    loaders = build_loaders(config, data, splits, trainer.strategy.root_device)
    classifier = build_classifier(config, data, splits, loaders)
    _save_config(config, folder)
    tags = provenance(trainer.strategy.root_device) | {
        "key": run_key(config),
        "data_sha256": data.sha256(),
        "split_sha256": splits.sha256(),
    }
    with open_run(
        folder,
        uri=config.machine.tracking,
        experiment=config.experiment,
        name=run_name(config),
        params=science(config),
        tags=tags | {"mlflow.note.content": _note(tags, folder, command)},
    ) as tracking:
        tracking.log_file(folder / "config.yaml")
        trainer.logger = tracking
        last = folder / "last.ckpt"
        begun = str(last) if last.exists() else None
        try:
            trainer.fit(classifier, loaders.train, loaders.val, ckpt_path=begun)
        except SystemExit as stop:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from stop
        outputs = _predict(trainer, classifier, loaders)
        _save_predictions(folder / "predictions.npz", outputs, data, splits)
        metrics = _final_metrics(classifier, outputs, data, splits)
        tracking.log_metrics(metrics, step=0)
        tags["weights_sha256"] = weights_sha256(classifier.net)
        tracking.set_tags({"weights_sha256": tags["weights_sha256"]})
    result = {
        "name": run_name(config),
        "experiment": config.experiment,
        "params": science(config),
        "metrics": metrics,
        "n_test": len(splits.test),
        "tags": tags | {"mlflow_run_id": tracking.run_id},
        "command": command,
        "seconds": round(time.monotonic() - start, 2),
    }
    part = folder / "result.part"
    part.write_text(json.dumps(result, indent=2, default=str))
    part.rename(folder / "result.json")


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


def _predict(trainer: Trainer, classifier: Classifier, loaders: Loaders) -> tuple[Logits, Logits]:
    """Outputs on calib and on test, in float32 on the CPU."""
    calib, test = (
        torch.cat(trainer.predict(classifier, batches)).cpu()  # type: ignore[arg-type]  # flat: one loader
        for batches in (loaders.calib, loaders.test)
    )
    return calib, test


def _final_metrics(
    classifier: Classifier, outputs: tuple[Logits, Logits], data: ImageSet, splits: Splits
) -> dict[str, float]:
    """`test/*` as the loss's link has it, `test_ts/*` after the temperature fitted on calib."""
    calib, test = outputs
    index: Index = data.index[splits.test]
    temperature = fit_temperature(calib, data.index[splits.calib])
    scaled = score_outputs(test.double(), scale(test.double(), temperature), index)
    raw = evaluate(test, index, classifier.link)
    return (
        {f"test/{key}": value for key, value in raw.items()}
        | {f"test_ts/{key}": value for key, value in scaled.items()}
        | {
            "test_ts/temperature": temperature,
            "test_ts/temperature_at_bound": float(temperature in BOUNDS),
        }
    )


def _save_predictions(
    file: Path, outputs: tuple[Logits, Logits], data: ImageSet, splits: Splits
) -> None:
    """Outputs, true class and id of every example of calib and test."""
    arrays: dict[str, Any] = {}
    for name, logits, ids in zip(
        ("calib", "test"), outputs, (splits.calib, splits.test), strict=True
    ):
        arrays[f"{name}_logits"] = logits.numpy()
        arrays[f"{name}_target"] = data.index[ids].numpy()
        arrays[f"{name}_id"] = ids.numpy()
    part = file.with_suffix(".part")
    with part.open("wb") as opened:
        np.savez(opened, **arrays)
    part.rename(file)


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
