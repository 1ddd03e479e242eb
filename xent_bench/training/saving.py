"""The moments at which a run is saved: after epochs, every few minutes, and on a signal to end."""

import time
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import DictConfig
from pytorch_lightning import Callback, LightningModule, Trainer

from xent_bench.data.groups import Groups
from xent_bench.process.signals import Notice
from xent_bench.training.checkpoint_files import ORIGIN, refuse_foreign_moments
from xent_bench.training.user_code import refuse_lost_steps

THREADS = "threads"
MOST_THREADS = 4096
MAX_SHARE = 0.01  # of the time goes into saving: after short epochs not every one is saved


class Checkpointing(Callback):
    """Saves between two steps, never in a signal handler, which may run in the middle of a step.

    Where several processes train a run, all of them save, or end, at the same step.
    """

    def __init__(self, folder: Path, machine: DictConfig, notice: Notice) -> None:
        """`notice` says whether a signal to end has come."""
        self.folder, self.notice = folder, notice
        self.seconds, self.threads = 60 * machine.checkpoint_minutes, machine.threads
        self.origin: dict[str, Any] | None = None  # set once the data are loaded
        self.has_trained = False  # a step: until then a checkpoint may be at fault
        self.saved, self.cost = time.monotonic(), 0.0  # the time of the last save, and its seconds

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the number of threads, which decides how numbers round, and the run's origin."""
        checkpoint[THREADS] = torch.get_num_threads()
        checkpoint[ORIGIN] = self.origin

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Use as many threads as before, unless machine.threads says otherwise."""
        threads = checkpoint.get(THREADS)
        if not (isinstance(threads, int) and 1 <= threads <= MOST_THREADS):
            raise ValueError(f"expected a number of threads, got {threads!r}"[:200])
        if self.threads is None:
            torch.set_num_threads(threads)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals in place of Lightning, whose own answer to SIGTERM loses the epoch.

        ValueError for an optimizer's state, read from a checkpoint, that is of other weights.
        """
        for optimizer in trainer.optimizers:
            refuse_foreign_moments(optimizer)
        self.notice.listen()
        self.saved = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save within an epoch if it is time; after its last step validation comes first."""
        self.has_trained = True
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        self._save_if(trainer, time.monotonic() - self.saved > self.seconds)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after validation if it is time, and always after the last epoch that is trained.

        DataError if the epoch lacks steps.
        """
        epoch, steps = trainer.current_epoch, cast("Groups[Any]", trainer.train_dataloader).steps
        refuse_lost_steps(trainer.global_step - epoch * steps, steps, epoch)
        worth = min(self.seconds, self.cost / MAX_SHARE)
        last = trainer.current_epoch + 1 == trainer.max_epochs or trainer.should_stop
        self._save_if(trainer, last or time.monotonic() - self.saved > worth)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals again, which Lightning takes over when it begins to predict."""
        self.notice.listen()

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """End on a signal; there is nothing to save, since the net is trained.

        Processes that predict together may have different numbers of batches, so they go on.
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
    """Whether any of the processes that train the run answers yes."""
    return trainer.strategy.reduce_boolean_decision(answer, all=False)
