"""The images of test that published images are compared with: their labels, shape and files."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from xent_bench.data.image_files import shown
from xent_bench.failures import DataError
from xent_bench.types import Index


class Expected(NamedTuple):
    """The test split in its order. Labels are the true ones, before any noise."""

    labels: Index
    classes: tuple[str, ...]  # names, by label
    shape: tuple[int, int, int]  # channels, height, width
    files: Sequence[str] = ()  # where images lie in files: their paths, which end in CLASS/FILE


def check_number(place: Path, got: int, expected: int) -> None:
    """DataError unless a file or a folder has one image for each of test."""
    if got != expected:
        raise DataError(
            f"expected {expected:,} images in {shown(place)}, as many as test has, got {got:,}: "
            "shift.root has to be the corrupted copy of the data set that is tested"
        )


def check_labels(place: Path, labels: np.ndarray, expected: Expected) -> None:
    """DataError unless the labels in a place are those of test, one by one."""
    wanted = expected.labels.numpy()
    check_number(place, len(labels), len(wanted))
    differing = np.flatnonzero(labels != wanted)
    if len(differing):
        first = int(differing[0])
        there, here = (_class_name(values[first], expected) for values in (labels, wanted))
        raise DataError(
            f"expected the labels of test in {shown(place)}, but {len(differing):,} of "
            f"{len(wanted):,} differ: image {first} is {there} there and {here} in test; "
            "shift.root has to be the corrupted copy of the data set that is tested"
        )


def whole_numbers(place: Path, labels: np.ndarray) -> np.ndarray:
    """Labels as int64. DataError unless they are one row of whole numbers."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        got = f"{labels.dtype} of shape {labels.shape}"
        raise DataError(f"expected labels in {shown(place)} as a row of whole numbers, got {got}")
    return labels.astype(np.int64)


def as_index(labels: np.ndarray) -> Index:
    """Labels as a tensor."""
    return torch.from_numpy(labels.astype(np.int64))


def _class_name(label: np.integer, expected: Expected) -> str:
    number, classes = int(label), expected.classes
    return shown(classes[number]) if 0 <= number < len(classes) else f"of class {number}"
