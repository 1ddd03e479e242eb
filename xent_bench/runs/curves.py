"""The curves of a run, kept in its folder: what was measured after each epoch."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from xent_bench.failures import DataError
from xent_bench.runs.whole_files import write_lasting

FILE = "curves.json"
DRAWN = ("val/nll", "val/top1")  # by a report
SECONDS = "time/epoch_seconds"
WRITTEN = "time/written"  # unix seconds: of the step, and no curve


class Curves:
    """One point of each curve a step; step 1 is the end of the first epoch.

    A step that is written again, by a run that was killed before its checkpoint, stays as it was,
    with its times; on another machine it may have other numbers, and replaces itself. The file has
    what was added before the last `save`.
    """

    def __init__(self, folder: Path) -> None:
        """Go on with those in the folder."""
        self.file = folder / FILE
        self.steps = load_curves(folder) if self.file.exists() else {}
        self.saved = True

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """The points of a step, and when."""
        if _untimed(self.steps.get(step, {})) == _untimed(values):
            return
        self.steps[step] = dict(values) | {WRITTEN: round(time.time(), 3)}
        self.saved = False

    def save(self) -> None:
        """To the folder, if anything is new; the file appears whole."""
        if not self.saved:
            write_lasting(self.file, json.dumps(self.steps))
            self.saved = True

    def seconds(self) -> float:
        """Of all epochs, whichever process trained them."""
        return sum(values.get(SECONDS, 0.0) for values in self.steps.values())

    def speed(self, examples: int) -> float | None:
        """Of an epoch with so many examples, in examples a second; None if no epoch was timed."""
        seconds = self.seconds()
        return examples * len(self.steps) / seconds if seconds else None

    def last_val(self) -> dict[str, float]:
        """The scores on val after the last epoch, without the trained loss, whose unit differs."""
        last = self.steps[max(self.steps)] if self.steps else {}
        return {k: v for k, v in last.items() if k.startswith("val/") and k != "val/loss"}


def _untimed(values: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if not key.startswith("time/")}


def load_curves(folder: Path) -> dict[int, dict[str, float]]:
    """By step, in their order; a DataError if they cannot be read."""
    file = folder / FILE
    try:
        steps = {
            int(step): {key: float(value) for key, value in values.items()}
            for step, values in json.loads(file.read_text()).items()
        }
    except (OSError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {file}, delete it to go on without: {error}") from error
    return dict(sorted(steps.items()))
