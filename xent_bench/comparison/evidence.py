"""Data for the page's charts, read from the runs' folders: training curves and predictions.

A file that cannot be read is listed in `Evidence.absent` and left out. Tables and verdicts do not
depend on these files.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from xent_bench.arrays import Labels, Values
from xent_bench.calibrators.temperature import fit_temperature
from xent_bench.comparison.compare import Comparison
from xent_bench.evaluation.evaluate import readings
from xent_bench.metrics.accuracy import PerClass
from xent_bench.metrics.by_class import recalls as class_recalls
from xent_bench.metrics.class_sizes import is_uneven
from xent_bench.metrics.examples import Examples
from xent_bench.metrics.ranking import risks
from xent_bench.metrics.reliability import Reliability, reliability
from xent_bench.runs.curves import DRAWN, load_curves
from xent_bench.runs.data_account import DataAccount, load_account
from xent_bench.runs.files import CURVES, PREDICTIONS
from xent_bench.runs.predictions import load
from xent_bench.runs.result import Run

ByReading: TypeAlias = dict[str, Examples]  # the test examples of a run, by reading

COVERAGES = np.linspace(0.01, 1, 100)
# metrics that are means over images, and so have a value for each image
BY_IMAGE = ("test/top1", "test/nll", "test/brier", "test_ts/nll", "test_ts/brier")


@dataclass
class ClassRecalls:
    """Recall of each class on test, of runs whose classes differ in size."""

    classes: tuple[str, ...]
    train_counts: PerClass  # images in train, of one run
    # by reading and loss label: (runs, classes), NaN for a class without an image in test
    by_prefix: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


@dataclass
class Evidence:
    """Curves and predictions of a comparison's losses; every dictionary is keyed by loss label."""

    curves: dict[str, dict[str, Values]] = field(default_factory=dict)  # (runs, epochs) by metric
    reliability: dict[str, dict[str, Reliability]] = field(default_factory=dict)  # of one seed
    risks: dict[str, Values] = field(default_factory=dict)  # at COVERAGES, mean over seeds
    by_image: dict[str, dict[str, Values]] = field(default_factory=dict)  # mean over seeds
    images: dict[str, Labels] = field(default_factory=dict)  # ids of the test images
    recalls: ClassRecalls | None = None  # where classes of train differ in size
    account: DataAccount | None = None  # of the images of one of the runs
    absent: list[str] = field(default_factory=list)  # files that cannot be read

    def image_error(self, label: str, baseline: str, key: str) -> float | None:
        """Standard error over test images of the difference between a loss and the baseline.

        s / sqrt(n) of the differences image by image, in the metric's unit. None if a loss has no
        values by image, if the two were tested on different images, if a value is infinite, or if
        all images have one difference: no spread tells nothing of other images.
        """
        values, baseline_values = (
            self.by_image.get(loss, {}).get(key) for loss in (label, baseline)
        )
        if values is None or baseline_values is None:
            return None
        if not np.array_equal(self.images[label], self.images[baseline]):
            return None
        deltas = values - baseline_values
        if len(deltas) < 2 or not np.isfinite(deltas).all() or not np.ptp(deltas):
            return None
        return float(deltas.std(ddof=1) / len(deltas) ** 0.5)

    def image_half_width(self, label: str, baseline: str, key: str) -> float | None:
        """Half of the 95 % interval over test images of that difference; None as `image_error`."""
        error = self.image_error(label, baseline, key)
        return None if error is None else 1.96 * error


def folder_of(run: Run) -> Path:
    """The folder that a run was read from; ValueError for a run that was read from MLflow."""
    if run.folder is None:
        raise ValueError(f"expected the folder of {run.name}, got none")
    return run.folder


def load_evidence(
    comparison: Comparison, find_folder: Callable[[Run], Path] = folder_of
) -> Evidence:
    """Load curves and predictions of the reported runs of every loss.

    `find_folder` returns the folder that holds the files of a run.
    """
    evidence = Evidence()
    for row in comparison.rows:
        folders = {f"{row.label} s{run.params['seed']}": find_folder(run) for run in row.runs}
        for folder in folders.values():
            evidence.account = evidence.account or load_account(folder)
        _add_curves(evidence, row.label, folders)
        _add_predictions(evidence, row.label, folders)
    return evidence


def _add_curves(evidence: Evidence, label: str, folders: Mapping[str, Path]) -> None:
    curves = []  # for each run its epochs, for each epoch its metrics
    for name, folder in folders.items():
        try:
            curves.append(list(load_curves(folder).values()))
        except ValueError:
            evidence.absent.append(f"{name}: {CURVES}")
    length = min(map(len, curves), default=0)
    for key in DRAWN:
        if length and all(key in epoch for curve in curves for epoch in curve):
            values = [[epoch[key] for epoch in curve[:length]] for curve in curves]
            evidence.curves.setdefault(label, {})[key] = np.array(values)


def _add_predictions(evidence: Evidence, label: str, folders: Mapping[str, Path]) -> None:
    runs: list[ByReading] = []
    train_counts: list[PerClass | None] = []
    classes: tuple[str, ...] = ()
    for name, folder in folders.items():
        try:
            predictions = load(folder / PREDICTIONS)
        except ValueError as error:
            _, way_out, module = str(error).partition("if it is yours: ")
            evidence.absent.append(f"{name}: {PREDICTIONS}{f' ({module})' if way_out else ''}")
            continue
        images = evidence.images.setdefault(label, predictions.test.id)
        if not np.array_equal(images, predictions.test.id):
            evidence.absent.append(f"{name}: {PREDICTIONS}, which is of other images")
            continue
        classes = predictions.classes
        train_counts.append(predictions.train_counts)
        runs.append(readings(predictions, fit_temperature(predictions.calib, predictions.link)))
    if not runs:
        return
    if classes and (counts := train_counts[0]) is not None and is_uneven(counts):
        evidence.recalls = evidence.recalls or ClassRecalls(classes, counts)
        _add_recalls(evidence.recalls, label, runs)
    add_examples(evidence, label, runs)


def add_examples(evidence: Evidence, label: str, runs: Sequence[ByReading]) -> None:
    """Add what the charts and the intervals over images need of a loss's runs, one at least."""
    evidence.reliability[label] = {
        prefix: reliability(examples.ranked)
        for prefix, examples in runs[0].items()
        if examples.probabilistic is not None
    }
    evidence.risks[label] = np.mean([_risks(run["test"]) for run in runs], axis=0)
    by_key = {key: [_by_image(run, key) for run in runs] for key in BY_IMAGE}
    defined = {
        key: [values for values in by_run if values is not None] for key, by_run in by_key.items()
    }
    evidence.by_image[label] = {
        key: np.mean(by_run, axis=0) for key, by_run in defined.items() if by_run
    }


def _add_recalls(recalls: ClassRecalls, label: str, runs: Sequence[ByReading]) -> None:
    for prefix in ("test", "test_pc"):
        if all(prefix in run for run in runs):
            values = [class_recalls(run[prefix], len(recalls.classes)).recall for run in runs]
            recalls.by_prefix.setdefault(prefix, {})[label] = np.stack(values)


def _risks(examples: Examples) -> Values:
    """Share of errors among the most certain answers, at each of COVERAGES."""
    curve = risks(examples.ranked)
    places = np.ceil(COVERAGES * len(curve)).astype(int) - 1
    return np.asarray(curve[places])


def _by_image(run: ByReading, key: str) -> Values | None:
    """Values of one metric, one for each test image; None where the run does not have it."""
    prefix, _, metric = key.partition("/")
    examples = run.get(prefix)
    with_metric = examples if examples is None or metric == "top1" else examples.probabilistic
    values: Values | None = getattr(with_metric, metric, None)
    return values
