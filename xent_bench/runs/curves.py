"""The curves of a run, measured after each epoch and kept in its folder."""

import time
from collections.abc import Mapping
from pathlib import Path

from xent_bench.failures import DataError
from xent_bench.metrics.reported import NOISE_CURVES
from xent_bench.runs.begun import LATEST
from xent_bench.runs.files import CURVES
from xent_bench.runs.reading import read_sealed, sealed
from xent_bench.runs.whole_files import write_lasting

DRAWN = ("val/nll", "val/top1", *NOISE_CURVES)  # the curves that a report draws
SECONDS = "time/epoch_seconds"
WRITTEN = "time/written"  # when the step was written, in unix seconds: no curve
MOST_STEPS = 2**31  # epochs: more than anybody trains, and MLflow takes
WAY_OUT = "delete it to go on without"


class Curves:
    """Curves with one point a step; step 1 is the end of the first epoch.

    A run that was killed before its checkpoint adds its last steps again. A step with the same
    numbers stays as it was, with its times; one with other numbers, as another machine may compute
    them, is replaced. The file has what was added before the last `save`.
    """

    def __init__(self, folder: Path) -> None:
        """Load the curves that the folder has, to continue them; a DataError as `load_curves`."""
        self.file = folder / CURVES
        self.steps = load_curves(folder) if self.file.exists() else {}
        if not all(WRITTEN in values for values in self.steps.values()):
            raise DataError(f"cannot read {self.file}, {WAY_OUT}: expected {WRITTEN} in each step")
        self.saved = True

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add the points of a step, and the time."""
        if _untimed(self.steps.get(step, {})) == _untimed(values):
            return
        self.steps[step] = dict(values) | {WRITTEN: round(time.time(), 3)}
        self.saved = False

    def save(self) -> None:
        """Write the file if anything is new; it appears whole."""
        if not self.saved:
            write_lasting(self.file, sealed({str(step): self.steps[step] for step in self.steps}))
            self.saved = True

    def seconds(self) -> float:
        """Sum of the seconds of all epochs, whichever process trained them."""
        return sum(values.get(SECONDS, 0.0) for values in self.steps.values())

    def speed(self, examples: int) -> float | None:
        """Examples a second, for epochs of that many examples; None if no epoch was timed."""
        seconds = self.seconds()
        return examples * len(self.steps) / seconds if seconds else None

    def val(self, epoch: int | None = None) -> dict[str, float]:
        """Scores on val after an epoch, counted from 1, or after the last one.

        Those on noisy and clean labels of train are with them, where labels are noisy. The trained
        loss is left out: its unit differs.
        """
        scores = self.steps.get(epoch or max(self.steps, default=0), {})
        kept = ("val/", *NOISE_CURVES)
        return {k: v for k, v in scores.items() if k.startswith(kept) and k != "val/loss"}


def _untimed(values: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in values.items() if not key.startswith("time/")}


def load_curves(folder: Path) -> dict[int, dict[str, float]]:
    """Load the points by step, in the order of the steps; a DataError if they cannot be read."""
    file = folder / CURVES
    try:
        steps = {
            int(step): {key: float(value) for key, value in values.items()}
            for step, values in read_sealed(file).items()
        }
    except (OSError, AttributeError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"cannot read {file}, {WAY_OUT}: {error}") from error
    for step, values in steps.items():
        if not (0 < step < MOST_STEPS and 0 <= values.get(WRITTEN, 0) < LATEST):
            raise DataError(
                f"cannot read {file}, {WAY_OUT}: expected steps from 1, each written at a time in "
                f"unix seconds, got step {step} at {values.get(WRITTEN)}"
            )
    return dict(sorted(steps.items()))
