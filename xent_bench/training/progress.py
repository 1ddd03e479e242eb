"""How far a run is: a bar on a terminal, a line now and then elsewhere, a file for others."""

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from rich import progress
from rich.console import Console

from xent_bench.data.groups import Groups
from xent_bench.runs.pace import Pace, save_pace

REFRESH = 0.25  # seconds: to draw takes as long as ten steps of a small net
SAVED = 1.0  # seconds between two writings of the file
SAID = 60.0  # seconds between two lines where there is no terminal
FIRST_SAID = 10.0  # seconds before the first of them: most runs of a laptop end before


class Progress(Callback):
    """Epochs done and time left."""

    def __init__(self, name: str, folder: Path) -> None:
        """`name` and folder of the run."""
        columns = (
            progress.TextColumn(f"        {name:16}"),
            progress.BarColumn(bar_width=30),
            progress.TextColumn("epoch {task.completed:.1f}/{task.total:.0f}"),
            progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        )
        console = Console(stderr=True)
        self.name, self.folder, self.on_terminal = name, folder, console.is_terminal
        self.bar = progress.Progress(
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
            refresh_per_second=1 / REFRESH,
        )
        self.shown = self.saved = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin where a resumed run begins."""
        self.steps = cast(Groups, trainer.train_dataloader).steps
        self.begun, self.start = trainer.global_step / self.steps, time.monotonic()
        self.to_say = self.start + FIRST_SAID
        self.task = self.bar.add_task("", total=trainer.max_epochs)
        self.bar.update(self.task, completed=self.begun)
        if trainer.is_global_zero:  # of the processes that train one run together
            self.bar.start()
            self._save(trainer, self.start)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar a few times a second, and say it to others less often."""
        now = time.monotonic()
        if now - self.shown > REFRESH and trainer.is_global_zero:
            self.shown = now
            self.bar.update(self.task, completed=trainer.global_step / self.steps)
            if now - self.saved > SAVED:
                self._save(trainer, now)
            if not self.on_terminal and now > self.to_say:
                self.to_say = now + SAID
                print(f"{self.name}: {self._pace(trainer, now)}", file=sys.stderr, flush=True)

    def _save(self, trainer: Trainer, now: float) -> None:
        self.saved = now
        with suppress(OSError):  # no room: the next checkpoint has to say so, not a view of the run
            save_pace(self.folder, self._pace(trainer, now))

    def _pace(self, trainer: Trainer, now: float) -> Pace:
        epoch, epochs = trainer.global_step / self.steps, cast(int, trainer.max_epochs)
        done = epoch - self.begun
        left = (now - self.start) / done * (epochs - epoch) if done > 0 else None
        return Pace(round(epoch, 3), epochs, left, time.time())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the line to the result."""
        self._stop(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the line to the error."""
        if hasattr(self, "task"):  # it had begun
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        self.bar.stop()
        if trainer.is_global_zero:
            self._save(trainer, time.monotonic())
