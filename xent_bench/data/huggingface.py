"""An image set of the datasets library: saved to disk, in Parquet files, or of the hub."""

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from xent_bench.data.arrow_images import ArrowImages, image_column
from xent_bench.data.dataset_library import splits_of
from xent_bench.data.guessed_votes import no_votes
from xent_bench.data.image_files import ImageFiles, shown
from xent_bench.data.image_set import ImageSet
from xent_bench.data.listing import Listing
from xent_bench.data.preparation import Preparation
from xent_bench.data.prepared_set import prepared_set
from xent_bench.data.root_folder import root_folder
from xent_bench.data.several_labels import QUESTION, hint_in_rows, hint_in_texts
from xent_bench.data.split_folders import NAMES
from xent_bench.failures import DataError
from xent_bench.ranges import ImageSize, Moments, NaturalNumber

IMAGE = ("image", "img", "picture", "photo", "jpg", "png")
LABEL = ("label", "labels", "fine_label", "class", "target", "category", "y")
WRONG = 3  # rows that a refusal names


def huggingface(
    *,
    root: str,
    config: str | None = None,
    revision: str | None = None,
    download: bool = False,
    image: str | None = None,
    label: str | None = None,
    size: ImageSize | None = None,
    shorter_side: NaturalNumber | None = None,
    interpolation: Literal["bilinear", "bicubic"] | None = None,
    channels: Literal[1, 3] = 3,
    mean: Moments | None = None,
    std: Moments | None = None,
    flip: bool = True,
    crop: NaturalNumber = 0,
) -> ImageSet:
    """Images and labels of the datasets library: a folder, or a name of the hub, as `root`.

    A folder is one of `save_to_disk`, of Parquet files, or an imagefolder. A name of the hub is
    downloaded with `download` alone; `config` and `revision` choose among its versions. `image` and
    `label` name the columns; those of a usual name need not be named. Lists of numbers as labels
    are divided by their sums and are distributions. Splits are train, val and test, as in
    `image_folder`; a test split without labels is left out. Pixels are as `image_folder` says.
    DataError if the set has no such columns, or rows without a label.
    """
    preparation = Preparation.chosen(
        size=size,
        shorter_side=shorter_side,
        interpolation=interpolation,
        channels=channels,
        mean=mean,
        std=std,
        flip=flip,
        crop=crop,
    )
    chosen, notes = _chosen(splits_of(root, config, revision, download), root)
    first = chosen["train"]
    image = _column(first, "image", image, IMAGE)
    label = _column(first, "label", label, LABEL)
    for split in ("test", "val"):
        if split in chosen and _is_unlabelled(chosen[split], label):
            notes["left out"] = f"split {split}, which has no labels ({len(chosen[split]):,} rows)"
            del chosen[split]
    labels, classes = _labels(chosen, label)
    place = root_folder(root)
    folder = Path(os.path.abspath(place)) if place.exists() else Path(root)
    columns = [image_column(_arrow(rows, image), image) for rows in chosen.values()]
    files = [file["filename"] for rows in chosen.values() for file in rows.cache_files]
    encoded = ArrowImages(columns, files, folder)
    names = [f"{split} row {row}" for split, rows in chosen.items() for row in range(len(rows))]
    notes["read"] = f"images from column {shown(image)}, labels from column {shown(label)}"
    return prepared_set(
        ImageFiles.of(folder if place.exists() else Path(root), names, preparation, encoded),
        labels,
        classes,
        listing=Listing(shown(root), notes=notes),
        **_official(chosen),
    )


def _chosen(splits: dict[str, Any], root: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The splits train, test and val, in this order, by their usual names; and a note on others."""
    by_name = {name.casefold(): name for name in splits}
    chosen, used = {}, set()
    for split in ("train", "test", "val"):
        name = next((by_name[usual] for usual in NAMES[split] if usual in by_name), None)
        if name is not None and len(splits[name]):
            rows = splits[name]
            # an order that differs from the file's would be lost where columns are read as they lie
            chosen[split] = rows.flatten_indices() if rows._indices is not None else rows
            used.add(name)
    if "train" not in chosen:
        raise DataError(
            f"expected a split train with rows in {shown(root)}, got {', '.join(splits) or 'none'}"
        )
    others = [shown(name) for name in splits if name not in used]
    return chosen, {"unread splits": ", ".join(others)} if others else {}


def _column(rows: Any, key: str, name: str | None, usual: tuple[str, ...]) -> str:
    import datasets

    names = list(rows.column_names)
    if name is not None:
        if name not in names:
            raise DataError(f"data.{key}={shown(name)}: no such column; the set has {_some(names)}")
        return name
    by_name = {column.casefold(): column for column in names}
    likely = [by_name[word] for word in usual if word in by_name]
    kind = datasets.Image if key == "image" else datasets.ClassLabel
    typed = [column for column, value in rows.features.items() if isinstance(value, kind)]
    likely += typed if len(typed) == 1 else []
    if not likely:
        raise DataError(
            f"expected a column with the {key}s ({', '.join(usual[:4])}, ...); the set has "
            f"{_some(names)}; data.{key}=NAME names it"
        )
    return str(likely[0])


def _some(names: list[str]) -> str:
    return ", ".join(map(shown, names[:6])) + ", ..." * (len(names) > 6)


def _arrow(rows: Any, name: str) -> Any:
    """A column as it lies in the file, as a chunked array."""
    import pyarrow as pa

    if name not in rows.column_names:
        raise DataError(f"expected column {shown(name)} in every split; one has no such column")
    column = rows.data.column(name)
    if isinstance(column.type, pa.ExtensionType):
        raise DataError(f"expected images or labels in column {shown(name)}, got {column.type}")
    return column


def _is_unlabelled(rows: Any, label: str) -> bool:
    """Whether no row has a label, which is None or -1 where it is missing."""
    if label not in rows.column_names:
        return True
    return bool(_is_missing(_arrow(rows, label)).all())


def _is_missing(column: Any) -> np.ndarray:
    return np.array([value is None or value == -1 for value in column.to_pylist()])


def _labels(chosen: dict[str, Any], label: str) -> tuple[Tensor, tuple[str, ...]]:
    """The labels of all splits, hard or soft, and the names of the classes."""
    columns = {split: _arrow(rows, label) for split, rows in chosen.items()}
    wrong = [
        f"{split} row {row}"
        for split, column in columns.items()
        for row in np.flatnonzero(_is_missing(column)).tolist()
    ]
    if wrong:
        others = f" and {len(wrong) - WRONG:,} more" if len(wrong) > WRONG else ""
        raise DataError(
            f"expected a label in column {shown(label)} of every row, got none in "
            f"{', '.join(wrong[:WRONG])}{others}"
        )
    values = [value for column in columns.values() for value in column.to_pylist()]
    if isinstance(values[0], list):
        _refuse_names(values, label, chosen)
        return _soft(values, label, chosen)
    official = {
        tuple(getattr(rows.features[label], "names", None) or ()) for rows in chosen.values()
    }
    if len(official) > 1:
        raise DataError(f"expected the same classes in every split, column {shown(label)} differs")
    names = official.pop()
    if names:
        return torch.tensor(values), names
    if not all(isinstance(value, int | str) for value in values):
        got = type(values[0]).__name__
        raise DataError(f"expected classes or lists of numbers in {shown(label)}, got {got}")
    if hint := hint_in_texts([value for value in values if isinstance(value, str)]):
        raise DataError(hint)
    kinds = sorted(set(values))
    number = {value: place for place, value in enumerate(kinds)}
    return torch.tensor([number[value] for value in values]), tuple(map(str, kinds))


def _refuse_names(values: list[list[Any]], label: str, chosen: dict[str, Any]) -> None:
    """Refuse lists of classes: by their names, as ids of named classes, or of any length."""
    import datasets

    inner = getattr(chosen["train"].features[label], "feature", None)
    is_named = isinstance(inner, datasets.ClassLabel) or any(
        isinstance(value, str) for row in values for value in row
    )
    if is_named or len(set(map(len, values))) > 1:
        raise DataError(
            f"expected a class in each row of column {shown(label)}, or as many numbers as there "
            f"are classes, got lists of classes: {QUESTION}"
        )


def _soft(
    values: list[list[Any]], label: str, chosen: dict[str, Any]
) -> tuple[Tensor, tuple[str, ...]]:
    places = (f"{split} row {row}" for split, rows in chosen.items() for row in range(len(rows)))
    width = len(values[0])
    for place, row in zip(places, values, strict=True):
        numbers = np.array([np.nan if number is None else number for number in row], float)
        good = len(row) == width and np.isfinite(numbers).all() and (numbers >= 0).all()
        if not good or not numbers.sum() > 0:
            raise DataError(
                f"expected {width} numbers of at least 0, not all 0, in column {shown(label)}, got "
                f"others in {place}"
            )
    votes = np.array(values, float)
    if hint := hint_in_rows(votes):
        raise DataError(hint)
    if reason := no_votes({f"number {place}": column for place, column in enumerate(votes.T)}):
        raise DataError(
            f"expected votes or shares, one for each class, in the lists of column {shown(label)}, "
            f"but {reason}"
        )
    classes = tuple(map(str, range(width)))
    if ((votes > 0).sum(axis=1) == 1).all():
        return torch.from_numpy(votes.argmax(axis=1)), classes
    return torch.from_numpy(votes / votes.sum(axis=1, keepdims=True)), classes


def _official(chosen: dict[str, Any]) -> dict[str, Tensor]:
    """The ids of the official test and val; without test, those of val are test."""
    ids, start = {}, 0
    for split, rows in chosen.items():
        ids[split] = torch.arange(start, start + len(rows))
        start += len(rows)
    del ids["train"]
    if "val" in ids and "test" not in ids:
        ids["test"] = ids.pop("val")
    return ids
