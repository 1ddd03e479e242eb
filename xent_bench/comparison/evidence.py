"""What a page shows beside the numbers, read from the folders of runs: curves and predictions.

What is not there is said and left out; nothing else depends on it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xent_bench.arrays import Labels, Values
from xent_bench.calibrators.temperature import fit_temperature
from xent_bench.comparison.compare import Comparison
from xent_bench.evaluation.evaluate import readings
from xent_bench.metrics.examples import Examples
from xent_bench.metrics.ranking import risks
from xent_bench.metrics.reliability import Reliability, reliability
from xent_bench.runs.curves import DRAWN, load_curves
from xent_bench.runs.curves import FILE as CURVES_FILE
from xent_bench.runs.predictions import load
from xent_bench.runs.result import Run

PREDICTIONS = "predictions.npz"
COVERAGES = np.linspace(0.01, 1, 100)
# means over images
BY_IMAGE = ("test/top1", "test/nll", "test/brier", "test_ts/nll", "test_ts/brier")


@dataclass
class Evidence:
    """Of the losses of a comparison, by label."""

    curves: dict[str, dict[str, Values]] = field(default_factory=dict)  # (runs, epochs) by metric
    reliability: dict[str, dict[str, Reliability]] = field(default_factory=dict)  # of one seed
    risks: dict[str, Values] = field(default_factory=dict)  # at COVERAGES, mean over seeds
    by_image: dict[str, dict[str, Values]] = field(default_factory=dict)  # mean over seeds
    images: dict[str, Labels] = field(default_factory=dict)  # their ids
    absent: list[str] = field(default_factory=list)  # files that cannot be read

    def image_error(self, label: str, baseline: str, key: str) -> float | None:
        """Standard error over test images of the difference between two losses, both of which saw
        the same: s / sqrt(n) of the differences image by image.
        """
        pair = [self.by_image.get(each, {}).get(key) for each in (label, baseline)]
        if pair[0] is None or pair[1] is None:
            return None
        if not np.array_equal(self.images[label], self.images[baseline]):
            return None
        deltas = pair[0] - pair[1]
        if len(deltas) < 2 or not np.isfinite(deltas).all():
            return None
        return float(deltas.std(ddof=1) / len(deltas) ** 0.5)


def folder_of(run: Run) -> Path:
    """Where a run was read from."""
    if run.folder is None:
        raise ValueError(f"expected the folder of {run.name}, got none")
    return run.folder


def gather(comparison: Comparison, where: Callable[[Run], Path] = folder_of) -> Evidence:
    """Of every loss the runs of the trial that was chosen."""
    found = Evidence()
    for row in comparison.rows:
        folders = {f"{row.label} s{run.params['seed']}": where(run) for run in row.runs}
        _add_curves(found, row.label, folders)
        _add_predictions(found, row.label, folders)
    return found


def _add_curves(found: Evidence, label: str, folders: Mapping[str, Path]) -> None:
    steps = []
    for name, folder in folders.items():
        try:
            steps.append(list(load_curves(folder).values()))
        except ValueError:
            found.absent.append(f"{name}: {CURVES_FILE}")
    length = min(map(len, steps), default=0)
    for key in DRAWN:
        if length and all(key in step for each in steps for step in each):
            values = [[step[key] for step in each[:length]] for each in steps]
            found.curves.setdefault(label, {})[key] = np.array(values)


def _add_predictions(found: Evidence, label: str, folders: Mapping[str, Path]) -> None:
    read: list[dict[str, Examples]] = []
    for name, folder in folders.items():
        try:
            predictions = load(folder / PREDICTIONS)
        except ValueError:
            found.absent.append(f"{name}: {PREDICTIONS}")
            continue
        images = found.images.setdefault(label, predictions.test.id)
        if not np.array_equal(images, predictions.test.id):
            found.absent.append(f"{name}: {PREDICTIONS}, which is of other images")
            continue
        read.append(readings(predictions, fit_temperature(predictions.calib, predictions.link)))
    if not read:
        return
    found.reliability[label] = {
        prefix: reliability(examples.ranked)
        for prefix, examples in read[0].items()
        if examples.probabilistic is not None
    }
    found.risks[label] = np.mean([_risks(each["test"]) for each in read], axis=0)
    values = {key: [_by_image(each, key) for each in read] for key in BY_IMAGE}
    there = {key: [v for v in own if v is not None] for key, own in values.items()}
    found.by_image[label] = {key: np.mean(own, axis=0) for key, own in there.items() if own}


def _risks(examples: Examples) -> Values:
    curve = risks(examples.ranked)
    places = np.ceil(COVERAGES * len(curve)).astype(int) - 1
    return np.asarray(curve[places])


def _by_image(read: dict[str, Examples], key: str) -> Values | None:
    """A metric of each image; None where there are no probabilities."""
    prefix, _, metric = key.partition("/")
    examples = read[prefix]
    source = examples if metric == "top1" else examples.probabilistic
    values: Values | None = getattr(source, metric, None)
    return values
