"""How far a run is: a bar on a terminal, nothing elsewhere."""

import time
from typing import Any, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from rich import progress
from rich.console import Console

from xent_bench.data.groups import Groups

REFRESH = 0.25  # seconds: to draw takes as long as ten steps of a small net


class Progress(Callback):
    """Epochs done and time left."""

    def __init__(self, name: str) -> None:
        """`name` of the run."""
        columns = (
            progress.TextColumn(f"        {name:16}"),
            progress.BarColumn(bar_width=30),
            progress.TextColumn("epoch {task.completed:.1f}/{task.total:.0f}"),
            progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        )
        console = Console(stderr=True)
        self.bar = progress.Progress(
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
            refresh_per_second=1 / REFRESH,
        )
        self.shown = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin where a resumed run begins."""
        self.steps = cast(Groups, trainer.train_dataloader).steps
        epochs = trainer.max_epochs
        self.task = self.bar.add_task("", total=epochs, completed=trainer.current_epoch)
        self.bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, a few times a second."""
        now = time.monotonic()
        if now - self.shown > REFRESH:
            self.shown = now
            self.bar.update(self.task, completed=trainer.global_step / self.steps)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the line to the result."""
        self.bar.stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the line to the error."""
        self.bar.stop()
