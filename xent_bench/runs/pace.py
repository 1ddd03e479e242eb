"""The progress of a run, in a small file of its folder that others may read: `progress.json`."""

import json
import math
import time
from pathlib import Path
from typing import NamedTuple

from xent_bench.runs.reading import read_json
from xent_bench.runs.whole_files import write_whole

NAME = "progress.json"
SILENT = 60.0  # seconds without a note of progress that are worth a word; in training 1 s is usual


class Pace(NamedTuple):
    """The progress of a run at some time."""

    epoch: float  # epochs done, with a fraction
    epochs: int
    left: float | None  # seconds for the epochs that are left; None: cannot be told yet
    time: float  # when that was, in unix seconds

    def __str__(self) -> str:
        """'epoch 2.5/20, 70 s left'."""
        is_told = self.left is not None and self.epoch < self.epochs
        return f"{self.position()}, {duration(self.left or 0)} left" if is_told else self.position()

    def position(self) -> str:
        """The epochs done, of how many, without a time: 'epoch 2.5/20'."""
        if self.epoch >= self.epochs:
            return f"epoch {self.epochs}/{self.epochs}, scoring"
        return f"epoch {self.epoch:.1f}/{self.epochs}"


def save_pace(folder: Path, pace: Pace) -> None:
    """Write the progress of a run to its folder."""
    write_whole(folder / NAME, json.dumps(pace._asdict()))


def load_pace(folder: Path) -> Pace | None:
    """Load the progress of a run; None where there is none or it is damaged, as nobody needs it."""
    try:
        content = read_json(folder / NAME)
        left = content["left"]
        pace = Pace(
            float(content["epoch"]),
            int(content["epochs"]),
            None if left is None else float(left),
            float(content["time"]),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return None
    return pace if all(math.isfinite(value or 0) for value in pace) else None


def silence(since: float) -> str:
    """', silent for 5 min' where a running run noted nothing since then, in unix seconds.

    It may be scoring a large split or reading files, or be stopped (SIGSTOP, Ctrl-Z), or hang.
    """
    seconds = time.time() - since
    return f", silent for {duration(seconds)}" if seconds > SILENT else ""


def duration(seconds: float) -> str:
    """Write seconds as a person says them: '1.5 s', '70 s', '12 min', '2.5 h'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
