"""Predictions of a run on calib and test, kept so that every metric can be computed again.

`predictions.npz` holds, for each of the two splits, a net's outputs as they were (float32), the
labels (int64 classes, or the float rows of soft labels) and the ids of the examples; the names of
the classes; the name of the link that reads the outputs, with its hyper-parameters; and, where it
is known, p(y|x) of the test images, as `test_posterior`; and, where classes differ in size or a
prior correction was asked for, the number of images of each class in train, as `train_counts`, by
the labels that were trained on. Where images have an attribute, the name of it is `attribute`,
those of its values `attribute_values`, and `calib_attribute` and `test_attribute` are the places of
the images' values among them (int64). PyTorch is not needed to read it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Int64

from xent_bench.arrays import Labels, Outputs, SoftLabels, Target
from xent_bench.failures import DataError
from xent_bench.links import BoundLink, name_of, named_link
from xent_bench.metrics.accuracy import PerClass
from xent_bench.printable import printable
from xent_bench.runs.reading import check_archive
from xent_bench.runs.whole_files import write_lasting

ARRAYS = ("logits", "target", "id")  # of each split, in the file
POSTERIOR, TRAIN_COUNTS = "test_posterior", "train_counts"
ATTRIBUTE, VALUES = "attribute", "attribute_values"
SUM_TOLERANCE = 1e-3  # the sum of a row of soft labels may be off 1 by this, as in float16


Ids: TypeAlias = Int64[np.ndarray, " m"]  # of the examples of a split


class Predicted(NamedTuple):
    """The outputs of a split, each example once, in the order of their ids."""

    split: str
    outputs: Outputs
    target: Target
    id: Labels


class Subgroups(NamedTuple):
    """The values of an attribute, and which of them each example of calib and of test has."""

    attribute: str
    values: tuple[str, ...]
    calib: Labels
    test: Labels


class Predictions(NamedTuple):
    """Predictions of a run: calibrators are fitted on calib, and metrics reported on test."""

    calib: Predicted
    test: Predicted
    link: BoundLink
    classes: tuple[str, ...]
    posterior: SoftLabels | None = None  # p(y|x) of the test images, where it is known
    train_counts: PerClass | None = None  # images of each class in train
    subgroups: Subgroups | None = None  # where images have an attribute


def predicted(
    split: str, outputs: Outputs, target: Target, ids: Labels, expected: Ids | None = None
) -> Predicted:
    """Sort the outputs of a split by the ids of its examples.

    ValueError unless each id, or each of `expected`, occurs exactly once.
    """
    order = ids.argsort(kind="stable")
    expected = np.unique(ids) if expected is None else np.sort(expected)
    if not np.array_equal(ids[order], expected):
        raise ValueError(f"{split}: {_first_difference(ids, expected)}")
    return Predicted(split, outputs[order], target[order], ids[order])


def required(split: str, given: Predicted) -> Predicted:
    """Return `given` unchanged.

    ValueError unless it was predicted on `split`: a calibrator fitted on test would see the
    answers.
    """
    if given.split != split:
        raise ValueError(f"expected outputs on {split}, got those on {given.split}")
    return given


def save(predictions: Predictions, file: Path) -> None:
    """Write the predictions; the file appears whole and is flushed, as a result follows it."""
    calib, test, link, classes = predictions[:4]
    arrays: dict[str, Any] = {"link": np.array(_name(link)), "classes": np.array(classes)}
    for split, *columns in (calib, test):
        arrays |= {f"{split}_{name}": values for name, values in zip(ARRAYS, columns, strict=True)}
    optional = {POSTERIOR: predictions.posterior, TRAIN_COUNTS: predictions.train_counts}
    arrays |= {name: values for name, values in optional.items() if values is not None}
    subgroups = predictions.subgroups
    if subgroups is not None:
        arrays |= {ATTRIBUTE: np.array(subgroups.attribute), VALUES: np.array(subgroups.values)}
        arrays |= {f"calib_{ATTRIBUTE}": subgroups.calib, f"test_{ATTRIBUTE}": subgroups.test}
    content = BytesIO()
    np.savez(content, **arrays)
    write_lasting(file, content.getbuffer())


def load(file: Path) -> Predictions:
    """Read the predictions; a DataError if the file is missing, damaged, or has no link of ours.

    Nothing is imported for it: its link is one of xent_bench.links, or one that a loss which is
    imported already declares.
    """
    try:
        with opened_archive(file) as stored:
            calib, test = (
                predicted(split, *_checked(split, *(stored[f"{split}_{name}"] for name in ARRAYS)))
                for split in ("calib", "test")
            )
            classes = tuple(printable(str(name)) for name in stored["classes"].tolist())
            widths = {calib.outputs.shape[1], test.outputs.shape[1], len(classes)}
            if len(widths) > 1:
                raise ValueError(f"expected outputs for {len(classes)} classes, got {widths}")
            posterior = stored.get(POSTERIOR)
            if posterior is not None:
                _check_rows(POSTERIOR, posterior, test.outputs.shape)
            train_counts = stored.get(TRAIN_COUNTS)
            if train_counts is not None:
                _check_counts(train_counts, len(classes))
            link = _link(str(stored["link"]), len(classes))
            subgroups = _subgroups(stored) if ATTRIBUTE in stored else None
            return Predictions(calib, test, link, classes, posterior, train_counts, subgroups)
    except FileNotFoundError:
        raise DataError(f"expected the predictions of a run: no {file}") from None
    except Exception as error:  # NumPy and zipfile raise many kinds of error for a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot read {file}: {reason}") from error


def _subgroups(stored: Any) -> Subgroups:
    values = tuple(printable(str(name)) for name in stored[VALUES].tolist())
    columns = []
    for split in ("calib", "test"):
        places, ids = stored[f"{split}_{ATTRIBUTE}"], stored[f"{split}_id"]
        if places.dtype != np.int64 or places.shape != ids.shape:
            got = f"{places.dtype} of shape {places.shape}"
            raise ValueError(f"{split}: expected values of the attribute in int64, got {got}")
        if not 0 <= places.min() <= places.max() < len(values):
            got = f"{places.min()} to {places.max()}"
            raise ValueError(
                f"{split}: expected values of the attribute below {len(values)}: {got}"
            )
        columns.append(places[ids.argsort(kind="stable")])  # as `predicted` sorts the others
    return Subgroups(printable(str(stored[ATTRIBUTE])), values, *columns)


@contextmanager
def opened_archive(file: Path) -> Iterator[Any]:
    """Open an .npz of arrays alone, whose headers ask for no more than it holds."""
    if file.exists() and not file.is_file():
        raise ValueError("expected a file, got a folder, a pipe or a device")
    with file.open("rb") as opened:
        check_archive(opened)
        with np.load(opened, allow_pickle=False) as stored:
            yield stored


def _checked(
    split: str, outputs: np.ndarray, target: np.ndarray, ids: np.ndarray
) -> tuple[Outputs, Target, Labels]:
    n, c = outputs.shape if outputs.ndim == 2 else (0, 0)
    if outputs.dtype.kind != "f" or n == 0 or c < 2:
        got = f"{outputs.dtype} of shape {outputs.shape}"
        raise ValueError(f"{split}: expected outputs in float, (n, classes), got {got}")
    is_soft = target.ndim == 2
    integers = {"ids": ids} if is_soft else {"targets": target, "ids": ids}
    for name, labels in integers.items():
        if labels.dtype != np.int64 or labels.shape != (n,):
            got = f"{labels.dtype} of shape {labels.shape}"
            raise ValueError(f"{split}: expected {name} in int64, ({n},), got {got}")
    if is_soft:
        _check_rows(f"{split}: soft targets", target, (n, c))
    elif not 0 <= target.min() <= target.max() < c:
        got = f"{target.min()} to {target.max()}"
        raise ValueError(f"{split}: expected targets from 0 to {c - 1}, got {got}")
    if not np.isfinite(outputs).all():
        raise ValueError(f"{split}: expected finite outputs, got NaN or infinity among them")
    return outputs, target, ids


def _check_rows(name: str, rows: np.ndarray, shape: tuple[int, ...]) -> None:
    if rows.dtype.kind != "f" or rows.shape != shape:
        got = f"{rows.dtype} of shape {rows.shape}"
        raise ValueError(f"{name}: expected float of shape {shape}, got {got}")
    if not (
        rows.min() >= 0 and np.abs(rows.astype(np.float64).sum(axis=1) - 1).max() < SUM_TOLERANCE
    ):
        raise ValueError(f"{name}: expected rows of at least 0 that sum to 1")


def _check_counts(counts: np.ndarray, classes: int) -> None:
    if counts.dtype != np.float64 or counts.shape != (classes,):
        got = f"{counts.dtype} of shape {counts.shape}"
        raise ValueError(f"{TRAIN_COUNTS}: expected float64 of shape ({classes},), got {got}")
    if not (np.isfinite(counts).all() and counts.min() >= 0 and counts.max() > 0):
        raise ValueError(f"{TRAIN_COUNTS}: expected numbers of images, of at least 0, got others")


def _first_difference(ids: Labels, expected: Ids) -> str:
    unique, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        at = counts.argmax()
        return f"expected each example once, got id {unique[at]} {counts[at]} times"
    missing, strange = np.setdiff1d(expected, unique), np.setdiff1d(unique, expected)
    if len(missing):
        return f"expected every example of the split, got none with id {missing[0]}"
    return f"expected examples of the split alone, got id {strange[0]}"


def _name(link: BoundLink) -> str:
    """Write as JSON the place of the link's function and its keywords."""
    keywords = dict(link.keywords)
    plain = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in keywords.items()}
    return json.dumps({"link": name_of(link.func)} | plain)


def _link(name: str, classes: int) -> BoundLink:
    """Look the link up by its name, and bind its keywords, which are numbers."""
    try:
        keywords = json.loads(name)
        target = named_link(keywords.pop("link"))
        link = partial(target, **{key: _number(key, value) for key, value in keywords.items()})
        log_p = link(np.zeros((1, classes)))
        if log_p is not None and np.shape(log_p) != (1, classes):
            raise ValueError(f"expected rows of {classes} numbers from it, got {np.shape(log_p)}")
    except Exception as error:  # anything that somebody's link may raise
        raise ValueError(f"its link {name} cannot be used: {error}"[:500]) from error
    return link


def _number(key: str, value: Any) -> Any:
    """Return a number, or an array for a list of numbers; ValueError for anything else."""
    numbers = value if isinstance(value, list) else [value]
    if not all(type(number) in (int, float, bool) for number in numbers):
        raise ValueError(f"expected a number, or numbers, as {key}, got {value!r}"[:200])
    return np.array(value) if isinstance(value, list) else value
