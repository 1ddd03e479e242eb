"""The labels that lie beside features: read from a file, and made classes or distributions."""

import csv
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xent_bench.data.array_files import open_arrays, reading
from xent_bench.data.guessed_votes import no_votes
from xent_bench.data.image_files import shown
from xent_bench.data.several_labels import hint_in_rows, hint_in_texts
from xent_bench.failures import DataError

LABELS = ("labels", "label", "targets", "target", "y", "class", "fine_label", "label_idx")
DELIMITERS = ",;\t"
SHOWN = 6  # names in a refusal
TEXTS = (".csv", ".tsv", ".txt")


def read_labels(file: Path, n: int) -> np.ndarray:
    """The labels of n examples in a file of their own: an array, or lines of text.

    In a table with several columns the one with a usual name counts, or all where each is a number.
    """
    if file.suffix.lower() in TEXTS:
        with reading(file):
            return _of_text(file, n)
    arrays = open_arrays(file)
    by_name = {name.casefold(): name for name in reversed(arrays.names)}
    usual = next((by_name[name] for name in LABELS if name in by_name), None)
    if usual is None and len(arrays.names) > 1:
        listed = ", ".join(map(shown, arrays.names[:SHOWN]))
        raise DataError(
            f"expected one array in {shown(file)}, or one called {' or '.join(LABELS[:3])}, got "
            f"{listed}"
        )
    return arrays.small(usual or arrays.names[0])


def _of_text(file: Path, n: int) -> np.ndarray:
    with file.open(newline="", encoding="utf-8-sig") as opened:
        lines = opened.readlines()
    rows = [row for row in csv.reader(lines, delimiter=_delimiter(file, lines[:1])) if row]
    if file.suffix.lower() == ".txt":  # a name in it may hold a comma
        rows = [[",".join(row)] for row in rows]
    heading = _heading(file, rows, n)
    widths = {len(row) for row in (*rows, *([heading] if heading else []))}
    if len(widths) != 1:
        raise DataError(f"expected lines of as many values each in {shown(file)}")
    cells = np.array(rows)
    if heading is not None and len(heading) > 1:
        places = {name.strip().casefold(): place for place, name in enumerate(heading)}
        column = next((places[name] for name in LABELS if name in places), None)
        if column is not None:
            cells = cells[:, [column]]
    if cells.shape[1] == 1:
        return _numbers_if_all_are(cells[:, 0])
    values = _numbers_if_all_are(cells)
    if values.dtype.kind == "U":
        raise DataError(
            f"expected a column called {' or '.join(LABELS[:3])} in the first line of "
            f"{shown(file)}, or one column alone"
        )
    return values


def _delimiter(file: Path, first: list[str]) -> str:
    """A tab in .tsv, else what the first line holds most often, a comma where it holds none."""
    if file.suffix.lower() == ".tsv":
        return "\t"
    if file.suffix.lower() == ".txt":
        return ","
    return max(DELIMITERS, key="".join(first).count)


def _heading(file: Path, rows: list[list[str]], n: int) -> list[str] | None:
    """Take the first of n + 1 rows off, as the names of columns; None where there are n.

    DataError if it is no heading but one label too many: its value, or each of its numbers, is one
    of the labels below it.
    """
    if len(rows) != n + 1:
        return None
    heading = rows.pop(0)
    below = [set(column) for column in zip(*rows, strict=False)]
    if len(below) == len(heading) and all(
        cell in column for cell, column in zip(heading, below, strict=True)
    ):
        raise DataError(
            f"expected {n:,} labels in {shown(file)}, below a heading if there is one, got "
            f"{n + 1:,} lines, and the first, {shown(','.join(heading))}, is no heading: it is "
            "among the lines below; a heading such as label says that it is one"
        )
    return heading


def _numbers_if_all_are(cells: np.ndarray) -> np.ndarray:
    for kind in (np.int64, np.float64):
        try:
            return cells.astype(kind)
        except ValueError:
            continue
    return cells


def classes_and_labels(
    values: np.ndarray, classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], Tensor]:
    """The names of the classes, and the labels: int64 (n,), or distributions (n, c).

    Whole numbers in (n, c) are votes, divided by their sum; a single vote in each row is a class.
    Without `classes`, texts and numbers are the names of the classes, in their order.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2) or values.dtype.kind not in "iufbUS":
        raise DataError(
            f"expected a label for each row, or a row of probabilities, got {values.dtype} of "
            f"shape {values.shape}"
        )
    if values.ndim == 2:
        return _distributions(values, classes)
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and (values == values.round()).all()):
            raise DataError("expected whole numbers or names as labels, got fractions")
        values = values.astype(np.int64)
    if values.dtype.kind in "US":
        return _of_names(_texts(values), classes)
    return _of_numbers(values.astype(np.int64), classes)


def _distributions(
    values: np.ndarray, classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], Tensor]:
    if hint := hint_in_rows(values):
        raise DataError(hint)
    if values.dtype.kind not in "iuf":
        raise DataError(f"expected probabilities or votes in rows of labels, got {values.dtype}")
    names = classes or tuple(map(str, range(values.shape[1])))
    if values.dtype.kind == "f":
        exact = values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)
        return names, torch.from_numpy(np.array(exact, exact.dtype.newbyteorder("=")))
    votes = values.astype(np.int64)
    columns = {f"column {place}": column for place, column in enumerate(votes.T)}
    if (reason := no_votes(columns)) is not None:
        raise DataError(f"expected votes for a class in each column of labels, but {reason}")
    sums = votes.sum(axis=1)
    if (votes < 0).any() or (sums == 0).any():
        row = int(np.flatnonzero((votes < 0).any(axis=1) | (sums == 0))[0])
        raise DataError(f"expected votes of at least 0, one in each row, got none in row {row}")
    if (sums == 1).all():
        return names, torch.from_numpy(votes.argmax(axis=1))
    return names, torch.from_numpy(votes / sums[:, None])


def _of_names(
    values: np.ndarray, classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], Tensor]:
    names, labels = np.unique(values, return_inverse=True)
    if hint := hint_in_texts(names.tolist()):
        raise DataError(hint)
    if classes is None:
        return tuple(names.tolist()), torch.from_numpy(labels.astype(np.int64))
    place = {name: number for number, name in enumerate(classes)}
    unknown = [name for name in names.tolist() if name not in place]
    if unknown:
        raise DataError(f"expected labels among the classes, got {shown(unknown[0])!r}")
    numbers = np.array([place[name] for name in names.tolist()], np.int64)
    return classes, torch.from_numpy(numbers[labels])


def _of_numbers(
    values: np.ndarray, classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], Tensor]:
    if classes is not None:
        return classes, torch.from_numpy(values)
    numbers, labels = np.unique(values, return_inverse=True)
    return tuple(map(str, numbers.tolist())), torch.from_numpy(labels.astype(np.int64))


def _texts(values: np.ndarray) -> np.ndarray:
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
