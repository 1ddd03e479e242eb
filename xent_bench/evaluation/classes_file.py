"""`classes.csv` in a run's folder: a row for each class, where classes differ in size."""

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np

from xent_bench.arrays import is_soft
from xent_bench.evaluation.evaluate import Evaluation
from xent_bench.metrics.accuracy import PerClass
from xent_bench.metrics.by_class import recalls
from xent_bench.metrics.class_sizes import groups_of, is_uneven, published_group
from xent_bench.metrics.examples import Examples
from xent_bench.runs.files import CLASSES
from xent_bench.runs.whole_files import write_whole

COLUMNS = {"test": "", "test_pc": "_after_prior_correction"}  # the end of a column, by prefix
DECIMALS = 6


def write_classes(
    evaluation: Evaluation, classes: Sequence[str], train_counts: PerClass | None, folder: Path
) -> list[Path]:
    """Write the file, in the order of the classes; none where classes are about equally large.

    `group` is that of the thirds by images in train, `group_100_20` that of the published limits.
    `recall` is the share of right answers among the class's images in test, `answers` the number of
    test images that are answered with the class, `confidence` the mean confidence of the answers to
    the class's images. What is not defined is left empty. Returns the paths of the files written.
    """
    if train_counts is None or not is_uneven(train_counts):
        return []
    columns: dict[str, Sequence[object]] = {
        "class": classes,
        "train_images": [_shown(count) for count in train_counts],
        "group": groups_of(train_counts),
        "group_100_20": [published_group(count) for count in train_counts],
        "test_images": [
            _shown(count) for count in recalls(evaluation.readings["test"], len(classes)).images
        ],
    }
    for prefix, end in COLUMNS.items():
        if prefix in evaluation.readings:
            of_reading = _of_reading(evaluation.readings[prefix], len(classes))
            columns |= {f"{name}{end}": values for name, values in of_reading.items()}
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_whole(folder / CLASSES, text.getvalue())
    return [folder / CLASSES]


def _of_reading(examples: Examples, c: int) -> dict[str, list[str]]:
    recall, error, images = recalls(examples, c)
    numbers = {
        "recall": recall,
        "recall_se": error,
        "answers": np.bincount(examples.answer, minlength=c).astype(np.float64),
    }
    if examples.probabilistic is not None:
        confidence, target = examples.probabilistic.confidence, examples.target
        sums = confidence @ target if is_soft(target) else np.bincount(target, confidence, c)
        numbers["confidence"] = np.where(images > 0, sums / np.maximum(images, 1e-300), np.nan)
    return {name: [_shown(value) for value in values] for name, values in numbers.items()}


def _shown(value: float) -> str:
    """The number in short; empty if it is NaN."""
    return "" if np.isnan(value) else f"{round(float(value), DECIMALS):.12g}"
