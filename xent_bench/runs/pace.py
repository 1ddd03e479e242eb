"""How far a run is, in a small file of its folder that others may look at: `progress.json`."""

import json
from pathlib import Path
from typing import NamedTuple

from xent_bench.runs.whole_files import write_whole

NAME = "progress.json"


class Pace(NamedTuple):
    """Epochs done, with a fraction, of how many, the seconds left for them, and when that was."""

    epoch: float
    epochs: int
    left: float | None  # null: nothing to go by yet
    time: float  # of the clock, in seconds: since the Unix epoch

    def __str__(self) -> str:
        """As a person reads it."""
        if self.epoch >= self.epochs:
            return f"epoch {self.epochs}/{self.epochs}, scoring"
        left = "" if self.left is None else f", {duration(self.left)} left"
        return f"epoch {self.epoch:.1f}/{self.epochs}{left}"


def save_pace(folder: Path, pace: Pace) -> None:
    """Of the run in its folder."""
    write_whole(folder / NAME, json.dumps(pace._asdict()))


def load_pace(folder: Path) -> Pace | None:
    """None of a run that has not said it, or has been edited: it is only to be looked at."""
    try:
        found = json.loads((folder / NAME).read_text())
        left = found["left"]
        return Pace(
            float(found["epoch"]),
            int(found["epochs"]),
            None if left is None else float(left),
            float(found["time"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def duration(seconds: float) -> str:
    """As a person says it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
