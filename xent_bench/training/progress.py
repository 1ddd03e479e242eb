"""The progress of a run: a bar on a terminal, or a line now and then, and a file in its folder."""

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

REFRESH_SECONDS = 0.25  # between two drawings, each of which takes as long as ten small steps
SAVE_SECONDS = 1.0  # between two writings of the file
LINE_SECONDS = 60.0  # between two lines where there is no terminal
FIRST_LINE_SECONDS = 10.0  # before the first line: most runs on a laptop end sooner


class Progress(Callback):
    """Shows how many epochs are done and how much time is left."""

    def __init__(self, name: str, folder: Path, epochs: int) -> None:
        """Prepare the bar; `name`, `folder` and `epochs` are those of the whole run."""
        columns = (
            progress.TextColumn(f"        {name:16}"),
            progress.BarColumn(bar_width=30),
            progress.TextColumn("epoch {task.completed:.1f}/{task.total:.0f}"),
            progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        )
        console = Console(stderr=True)
        self.name, self.folder, self.epochs = name, folder, epochs
        self.on_terminal = console.is_terminal
        self.bar = progress.Progress(
            *columns,
            console=console,
            transient=True,
            disable=not console.is_terminal,
            refresh_per_second=1 / REFRESH_SECONDS,
        )
        self.shown = self.saved = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the bar at the epoch from which the run goes on."""
        self.steps = cast("Groups[Any]", trainer.train_dataloader).steps
        self.begun, self.start = trainer.global_step / self.steps, time.monotonic()
        self.next_line = self.start + FIRST_LINE_SECONDS
        self.task = self.bar.add_task("", total=trainer.max_epochs)
        self.bar.update(self.task, completed=self.begun)
        if trainer.is_global_zero:  # where several processes train one run, the first reports
            self.bar.start()
            self._save(trainer, self.start)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar a few times a second; write the file, or print a line, less often."""
        now = time.monotonic()
        if now - self.shown > REFRESH_SECONDS and trainer.is_global_zero:
            self.shown = now
            self.bar.update(self.task, completed=trainer.global_step / self.steps)
            if now - self.saved > SAVE_SECONDS:
                self._save(trainer, now)
            if not self.on_terminal and now > self.next_line:
                self.next_line = now + LINE_SECONDS
                print(f"{self.name}: {self._pace(trainer, now)}", file=sys.stderr, flush=True)

    def _save(self, trainer: Trainer, now: float) -> None:
        self.saved = now
        with suppress(OSError):  # a full disk is for the next checkpoint to report
            self.save_pace(self._pace(trainer, now))

    def save_pace(self, pace: Pace) -> None:
        """Note in the run's folder how far it is."""
        save_pace(self.folder, pace)

    def _pace(self, trainer: Trainer, now: float) -> Pace:
        epoch, epochs = trainer.global_step / self.steps, cast(int, trainer.max_epochs)
        if trainer.should_stop:  # by `patience`: this was the last epoch
            epochs = max(1, round(epoch))
        elif epoch >= epochs < self.epochs:  # paused: what is left is for another command
            return Pace(round(epoch, 3), self.epochs, None, time.time())
        done = epoch - self.begun
        left = (now - self.start) / done * (epochs - epoch) if done > 0 else None
        return Pace(round(epoch, 3), epochs, left, time.time())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remove the bar, so that the result can be printed in its place."""
        self._stop(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Remove the bar, so that the error can be printed in its place."""
        if hasattr(self, "task"):  # the bar was started
            self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        self.bar.stop()
        if trainer.is_global_zero:
            self._save(trainer, time.monotonic())
