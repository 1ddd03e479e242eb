"""When a run is saved: after epochs, every some minutes within one, and when told to end."""

import time
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer

from xent_bench.data.groups import Groups
from xent_bench.process.signals import Notice
from xent_bench.training.checkpoint_files import ORIGIN
from xent_bench.training.exhausted import refuse_lost_steps

THREADS = "threads"
SHARE = 0.01  # of the time, at most: of epochs too short for it not every one is saved


class Checkpointing(Callback):
    """Saves between two steps, never in a signal's handler, which may come between any two lines.

    Where several processes train a run, all of them save, or end, at the same step.
    """

    def __init__(self, folder: Path, machine: DictConfig, notice: Notice) -> None:
        """`notice` is what tells to end."""
        self.folder, self.notice = folder, notice
        self.seconds, self.threads = 60 * machine.checkpoint_minutes, machine.threads
        self.origin: dict[str, Any] | None = None  # known once the data are loaded
        self.saved, self.cost = time.monotonic(), 0.0  # when, and for how many seconds

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the number of threads, by which numbers round, and what the run was begun with."""
        checkpoint[THREADS] = torch.get_num_threads()
        checkpoint[ORIGIN] = self.origin

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Go on with as many, whatever a job's share is now; unless told otherwise."""
        if self.threads is None:
            torch.set_num_threads(checkpoint[THREADS])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen in Lightning's place, whose own answer to SIGTERM loses the epoch."""
        self.notice.listen()
        self.saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time to, but for an epoch's end, which comes after validation."""
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        self._save_if(trainer, time.monotonic() - self.saved > self.seconds)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, after val was scored; the last epoch in any case. Never one that lacks steps."""
        epoch, steps = trainer.current_epoch, cast(Groups, trainer.train_dataloader).steps
        refuse_lost_steps(trainer.global_step - epoch * steps, steps, epoch)
        worth = min(self.seconds, self.cost / SHARE)
        last = trainer.current_epoch + 1 == trainer.max_epochs
        self._save_if(trainer, last or time.monotonic() - self.saved > worth)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen again."""
        self.notice.listen()

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Nothing to save: the net is trained. Processes that do it together may have different
        numbers of batches, and go on.
        """
        if trainer.world_size == 1:
            self.notice.heed()

    def _save_if(self, trainer: Trainer, due: bool) -> None:
        if _any(trainer, due or self.notice.signum is not None):
            self._save(trainer)
            self._heed(trainer)

    def _save(self, trainer: Trainer) -> None:
        start = time.monotonic()
        if trainer.logger is not None:
            trainer.logger.save()  # first: what a resumed run does not log again
        trainer.save_checkpoint(self.folder)
        self.saved = time.monotonic()
        self.cost = self.saved - start

    def _heed(self, trainer: Trainer) -> None:
        if _any(trainer, self.notice.signum is not None):
            self.notice.heed()


def _any(trainer: Trainer, answer: bool) -> bool:
    """Whether a process says yes, of those that train the run."""
    return trainer.strategy.reduce_boolean_decision(answer, all=False)
