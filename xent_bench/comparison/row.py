"""The row of a loss in a comparison: its chosen trial, its reported runs and their means."""

from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

from xent_bench.comparison.boundary import Boundary, confidence_of
from xent_bench.comparison.stats import Estimate, Rivals, estimate, widest
from xent_bench.comparison.trials import Trial
from xent_bench.comparison.tuning import Choice
from xent_bench.runs.result import Run


class Row(NamedTuple):
    """Results of one loss with its chosen hyper-parameters, over its seeds."""

    choice: Choice
    estimates: dict[str, Estimate]  # by metric key, of the metrics that every run has
    scaled_map: str  # formula of temperature scaling for this loss, such as softmax(z / T)
    trials: int = 1  # among which the loss's trial was chosen; 1 for an untuned loss

    @property
    def label(self) -> str:
        """Name of the loss."""
        return self.trial.loss

    @property
    def trial(self) -> Trial:
        """The trial that all seeds together choose: the one to train with."""
        return self.choice.trial

    @property
    def runs(self) -> list[Run]:
        """Reported runs, one for each seed: a run of the trial that the other seeds choose."""
        return self.choice.runs

    @property
    def rivals(self) -> Rivals:
        """Numbers of trials among which those seeds chose that are reported, too.

        Both are 1 for an untuned loss, and for one reported by fresh seeds. In a search that was
        halved the first counts the trials trained to the end, the second all: see `widest`.
        """
        if self.choice.is_confirmed:
            return 1, 1
        return max(1, len(self.choice.candidates)), self.trials

    @property
    def n(self) -> int:
        """Number of seeds with a finished run."""
        return len(self.runs)

    @property
    def seconds(self) -> float | None:
        """Mean duration of a run in seconds, evaluation included; None without a run."""
        return fmean(run.seconds for run in self.runs) if self.n else None

    @property
    def examples_per_second(self) -> float | None:
        """Mean training speed of the runs that recorded theirs; None if no run did."""
        recorded = [run.examples_per_second for run in self.runs]
        speeds = [speed for speed in recorded if speed is not None]
        return fmean(speeds) if speeds else None

    @property
    def at_bound(self) -> int:
        """Number of these runs whose fit found no best temperature within the bounds."""
        share = self.estimates.get("test_ts/temperature_at_bound")
        return round(self.n * share.mean) if share else 0


def most_rivals(rows: Iterable[Row]) -> Rivals:
    """The largest numbers of trials that any of these losses was chosen from: see `Row.rivals`."""
    finished, tried = zip(*(row.rivals for row in rows), strict=True)
    return max(finished), max(tried)


def row_of(choice: Choice, tried: int, boundary: Boundary | None) -> Row:
    """The row of a loss; `tried` is the number of trials that a search tried, 0 for a grid."""
    runs = choice.runs
    first = runs[0].metrics if runs else ()
    keys = [key for key in first if all(key in run.metrics for run in runs)]
    trials = max(1, tried, len(choice.candidates))
    row = Row(choice, {}, "", trials)
    widening = widest(len(runs), row.rivals)
    confidence = confidence_of(boundary, len(runs))
    estimates = {
        key: estimate([run.metrics[key] for run in runs], confidence, widening=widening)
        for key in keys
    }
    maps = [run.tags["scaled_map"] for run in runs if "scaled_map" in run.tags]
    return row._replace(estimates=estimates, scaled_map=(maps or ["softmax(z / T)"])[0])
