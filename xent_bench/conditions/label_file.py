"""Noisy labels that a file holds, such as the human ones of CIFAR-10N.

Read: `.pt` (a dictionary of arrays, as CIFAR-10N and CIFAR-100N are published by Wei et al., 2022,
arXiv:2110.12088), `.npy` (whole numbers, in the order of the images) and `.csv` (a column of
labels, in that order or beside a column `file` or `id`). All are read as data; no code in them is
run.
"""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from xent_bench.config.configure import ConfigError
from xent_bench.config.nearest import hint
from xent_bench.data.image_set import ImageSet
from xent_bench.failures import DataError
from xent_bench.types import Index

ENDINGS = (".pt", ".pth", ".npy", ".csv")
USUAL = ("noisy_label", "noisy_labels", "label", "labels")  # columns that are taken without a name
CLEAN = "clean_label"  # a column that must hold the labels of the data, which shows their order
BY_CHANCE = 1.5  # times the share of right labels that labels at random have
KEYS = ("id", "file")  # columns that say which image a row is of


def labels_of_file(file: Path, column: str | None, data: ImageSet) -> tuple[Index, Index]:
    """The ids of the images that the file labels, and these labels; int64 (m,) both.

    Without a column of ids or of files, the labels are those of all images, or of all that are not
    in the official test split, in their order. DataError or ConfigError, which name the file, for
    anything else.
    """
    ending = file.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError("noise.labels", f"expected a file in .pt, .npy or .csv, got {file}")
    try:
        columns = {".npy": _of_npy, ".csv": _of_csv}.get(ending, _of_pt)(file)
    except (DataError, ConfigError, MemoryError):
        raise
    except Exception as error:  # torch, NumPy and csv each raise others for a damaged file
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise DataError(f"cannot read noise.labels={file}: {reason}") from error
    values = _chosen(columns, column, file)
    ids = _ids(columns, len(values), data, file)
    if CLEAN in columns:
        clean = _classes(columns[CLEAN], data.classes, file)
        wrong = int((clean != data.labels[ids]).sum()) if len(clean) == len(ids) else len(ids)
        if wrong:
            raise DataError(
                f"expected {CLEAN} of noise.labels={file} to be the labels of the data, in their "
                f"order; {wrong:,} of {len(ids):,} differ"
            )
    labels = _classes(values, data.classes, file)
    alike = int((labels == data.labels[ids]).sum())
    if len(ids) and alike < min(0.5, BY_CHANCE / len(data.classes)) * len(ids):
        raise DataError(
            f"expected noisy labels of these images in noise.labels={file}, got labels that are "
            f"right for {alike:,} of {len(ids):,}, as by chance: are they in another order?"
        )
    return ids, labels


def _of_npy(file: Path) -> dict[str, np.ndarray]:
    return {"labels": np.load(file, allow_pickle=False)}


def _of_csv(file: Path) -> dict[str, np.ndarray]:
    with file.open(newline="", encoding="utf-8-sig") as opened:
        heading, *rows = [row for row in csv.reader(opened) if row] or [[]]
    for number, row in enumerate(rows, 2):
        if len(row) != len(heading):
            raise DataError(
                f"expected {len(heading)} values in each line of noise.labels={file}, got "
                f"{len(row)} in line {number}"
            )
    return {
        name.strip(): np.array([row[place].strip() for row in rows])
        for place, name in enumerate(heading)
    }


def _of_pt(file: Path) -> dict[str, np.ndarray]:
    with torch.serialization.safe_globals(_numpy_globals()):
        content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        content = {"labels": content}
    return {
        str(name): values.numpy() if isinstance(values, Tensor) else np.asarray(values)
        for name, values in content.items()
        if isinstance(values, Tensor | np.ndarray | list)
    }


def _numpy_globals() -> list[Any]:
    """The functions that rebuild NumPy's arrays of numbers, under the names of NumPy 1 and 2."""
    from numpy._core import multiarray

    kinds = [type(np.dtype(kind)) for kind in ("i1", "u1", "i2", "i4", "i8", "f4", "f8")]
    rebuild = multiarray._reconstruct
    return [
        (rebuild, "numpy.core.multiarray._reconstruct"),
        (rebuild, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        *kinds,
    ]


def _chosen(columns: dict[str, np.ndarray], column: str | None, file: Path) -> np.ndarray:
    names = [name for name in columns if name not in (*KEYS, CLEAN)]
    if column is not None:
        if column not in columns:
            raise ConfigError(
                "noise.column",
                f"no {column!r} in {file}{hint(column, names)}; there is {', '.join(names)}",
            )
        return columns[column]
    usual = [name for name in USUAL if name in names]
    if len(names) != 1 and not usual:
        raise ConfigError(
            "noise.column", f"has to be given, since {file} holds {', '.join(names) or 'none'}"
        )
    return columns[usual[0] if usual else names[0]]


def _ids(columns: dict[str, np.ndarray], n: int, data: ImageSet, file: Path) -> Index:
    """The ids of the images that the rows label."""
    images = len(data.images)
    if "id" in columns:
        ids = _whole_numbers(columns["id"], f"ids in noise.labels={file}")
        return _checked_ids(torch.from_numpy(ids), images, file)
    if "file" in columns:
        numbers = {data.name_of(image): image for image in range(images)}
        missing = [name for name in columns["file"].tolist() if name not in numbers]
        if missing:
            some = ", ".join(missing[:3])
            raise DataError(
                f"expected files of the data in noise.labels={file}, got {len(missing)} others, "
                f"such as {some}"
            )
        ids = np.array([numbers[name] for name in columns["file"].tolist()], dtype=np.int64)
        return _checked_ids(torch.from_numpy(ids), images, file)
    if n == images:
        return torch.arange(images)
    others = torch.ones(images, dtype=torch.bool)
    if data.test is not None:
        others[data.test] = False
        if n == int(others.sum()):
            return others.nonzero()[:, 0]
    official = "" if data.test is None else f", or {int(others.sum()):,} without those of test"
    raise DataError(
        f"expected a label for each of the {images:,} images{official}, in noise.labels={file}, "
        f"got {n:,}"
    )


def _checked_ids(ids: Index, n: int, file: Path) -> Index:
    if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < n:
        raise DataError(f"expected ids from 0 to {n - 1} in noise.labels={file}, got others")
    if int(ids.bincount(minlength=1).max()) > 1:
        twice = int(ids.bincount().argmax())
        raise DataError(f"expected each image once in noise.labels={file}, got {twice} twice")
    return ids


def _classes(values: np.ndarray, classes: tuple[str, ...], file: Path) -> Index:
    if values.ndim != 1:
        got = " x ".join(map(str, values.shape))
        raise DataError(f"expected one label for each image in noise.labels={file}, got {got}")
    if values.dtype.kind in "US" and set(values.tolist()) <= set(classes):
        numbers = {name: number for number, name in enumerate(classes)}
        return torch.tensor([numbers[name] for name in values.tolist()], dtype=torch.int64)
    labels = _whole_numbers(values, f"names of classes, or their numbers, in noise.labels={file}")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise DataError(
            f"expected labels from 0 to {len(classes) - 1} in noise.labels={file}, got "
            f"{labels.min()} to {labels.max()}"
        )
    return torch.from_numpy(labels)


def _whole_numbers(values: np.ndarray, expected: str) -> np.ndarray:
    try:
        numbers = values.astype(np.float64)
        whole = numbers.astype(np.int64)
        if not (numbers == whole).all():
            raise ValueError
    except (ValueError, OverflowError):
        some = next((str(value) for value in values.tolist() if not str(value).isdigit()), "others")
        raise DataError(f"expected {expected}, got {some[:50]!r}") from None
    return whole
