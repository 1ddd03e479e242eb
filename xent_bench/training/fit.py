"""One training run, from its parts to `result.json`: built, trained, then evaluated and saved."""

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from omegaconf import DictConfig
from pytorch_lightning.utilities.exceptions import SIGTERMException
from torch import Tensor

from xent_bench.config.configure import ConfigError
from xent_bench.config.parts import Parts, resolve
from xent_bench.config.schema import GROUPS, pause_after
from xent_bench.failures import DataError, Diverged, Unavailable, named
from xent_bench.process import garbage
from xent_bench.process.gather import gathered
from xent_bench.process.signals import Notice, Preempted
from xent_bench.runs.begun import Unfinished, keep_reason, pause
from xent_bench.runs.predictions import Predicted, predicted
from xent_bench.training.advice import ADVICE
from xent_bench.training.build import Built, build
from xent_bench.training.finish import finish
from xent_bench.training.records import recorded
from xent_bench.training.saving import Checkpointing
from xent_bench.training.user_code import is_of_user, naming_user_code
from xent_bench.types import Index


def fit(
    config: DictConfig,
    parts: Parts,
    folder: Path,
    begun: Unfinished,
    checkpoint: Path | None,
    notice: Notice,
) -> None:
    """Train, evaluate, and move `result.json` into the folder when all else is written.

    A run that pauses is saved and not evaluated. It goes on from the checkpoint, if there is one.
    Where several processes train the run, each calls this, and the first writes.
    """
    start = time.monotonic()
    targets = {group: config[group]["_target_"] for group in GROUPS}
    naming = partial(naming_user_code, targets, folder)
    with naming():
        built = build(config, parts, folder, notice)
    recording = recorded(config, built, folder, begun, checkpoint, notice, start)
    with naming(), recording as record, naming():  # the record too keeps the error by its name
        garbage.resume()
        with stops_by_name():
            trainer, loaders = built.trainer, built.loaders
            with blaming_checkpoint(checkpoint, built.checkpointing):
                trainer.fit(built.classifier, loaders.train, loaders.val, ckpt_path=checkpoint)
                epoch = _pauses_after(config, built)
                if epoch is None:
                    built.classifier.use_best_epoch()
            if epoch is not None:
                if record is not None:
                    keep_reason(folder, pause(epoch, config.epochs))
                return
            calib, test = (_predict(built, split) for split in ("calib", "test"))
        if record is not None:
            finish(config, built, folder, record, calib, test)


def _pauses_after(config: DictConfig, built: Built) -> int | None:
    """The epoch after which the run pauses now; None if it has ended, also by `patience`."""
    best = built.classifier.best_epoch
    return None if best is not None and best.stops else pause_after(config)


def fit_with_others(
    config: DictConfig, folder: Path, begun: Unfinished, checkpoint: Path | None, notice: Notice
) -> None:
    """Call `fit` as one of the processes that train a run together.

    Each resolves the parts itself: a user's function may not be picklable.
    """
    fit(config, resolve(config), folder, begun, checkpoint, notice)


@contextmanager
def stops_by_name() -> Iterator[None]:
    """Raise KeyboardInterrupt or Preempted where Lightning makes a SystemExit of them."""
    try:
        yield
    except SystemExit as stop:
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from stop
        if isinstance(stop, SIGTERMException):  # which came before we listened
            raise Preempted(signal.SIGTERM) from stop
        raise


@contextmanager
def blaming_checkpoint(checkpoint: Path | None, checkpointing: Checkpointing) -> Iterator[None]:
    """Turn an error before the end of the first step after a checkpoint into a DataError.

    Its hash says that it is whole, not that a run like this one wrote it.
    """
    try:
        yield
    except Exception as error:
        is_of_content = not isinstance(
            error, DataError | Diverged | Unavailable | OSError | ConfigError
        )
        is_content = is_of_content and named(error) is error
        if checkpoint is None or checkpointing.has_trained or not is_content:
            raise
        if is_of_user(error):  # their code raised it, as it would without a checkpoint
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise DataError(
            f"cannot go on from {checkpoint}, delete it to go on without: {reason}"
        ) from error


def _predict(built: Built, split: str) -> Predicted:
    """Outputs, labels and ids of a whole split, in float32, from all processes together."""
    batches = getattr(built.loaders, split)
    predictions = cast(Any, built.trainer.predict(built.classifier, cast(Any, batches)))
    return collected(split, predictions, batches.split_ids)


def collected(split: str, predictions: Sequence[tuple[Tensor, ...]], ids: Index) -> Predicted:
    """Join the outputs, labels and ids of all batches; `ids` are the images of the split.

    Diverged if an output is not finite.
    """
    outputs, target, seen = (
        gathered(torch.cat(column)).cpu().numpy() for column in zip(*predictions, strict=True)
    )
    if not np.isfinite(outputs).all():
        raise Diverged(f"outputs on {split} are not finite: {ADVICE}")
    return predicted(split, outputs, target, seen, ids.cpu().numpy())
