"""When a run is saved: after every epoch, every some minutes within one, and when told to end."""

import time
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from xent_bench.preemption import Notice


class Checkpointing(Callback):
    """Saves between two steps, never in a signal's handler, which may come between any two lines.

    Where several processes train a run, all of them save, or end, at the same step.
    """

    def __init__(self, folder: Path, minutes: float, notice: Notice) -> None:
        """`notice` is what tells to end."""
        self.folder, self.seconds, self.notice = folder, 60 * minutes, notice
        self.saved = time.monotonic()

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
        due = time.monotonic() - self.saved > self.seconds
        if _any(trainer, due or self.notice.signum is not None):
            self._save(trainer)
            self._heed(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, after val was scored."""
        self._save(trainer)
        self._heed(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Listen again."""
        self.notice.listen()

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Nothing to save: the net is trained."""
        self._heed(trainer)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.folder)
        self.saved = time.monotonic()

    def _heed(self, trainer: Trainer) -> None:
        if _any(trainer, self.notice.signum is not None):
            self.notice.heed()


def _any(trainer: Trainer, answer: bool) -> bool:
    """Whether a process says yes, of those that train the run."""
    return trainer.strategy.reduce_boolean_decision(answer, all=False)
