"""Features, labels, splits and names, as they lie beside each other in a file or a folder."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from xent_bench.data.array_files import Arrays
from xent_bench.data.feature_labels import LABELS, read_labels
from xent_bench.data.image_files import shown
from xent_bench.failures import DataError

FEATURES = (
    "features",
    "feature",
    "embeddings",
    "embedding",
    "x",
    "feats",
    "image_features",
    "image_embeddings",
    "image_embeds",
    "img_emb",
    "emb",
    "vectors",
)
NAMES = ("names", "ids", "id", "files", "filenames", "file_names", "paths", "path", "image_id")
BESIDE = {"groups": ("groups", "group"), "weights": ("weights", "weight")}  # by the key of data
OFF = "none"  # in place of a name: no array, not even one of a usual name
SPLIT_COLUMNS = ("splits", "split")
CLASSES = ("classes", "class_names", "classnames")
SPLITS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Keys(NamedTuple):
    """The names of arrays or columns that the user has chosen; None: the usual names."""

    features: str | None
    labels: str | None
    splits: str | None
    classes: str | None
    groups: str | None = None
    weights: str | None = None


class Part(NamedTuple):
    """Features that lie together, with everything that lies beside them."""

    split: str | None  # of all rows
    rows: Tensor
    views: Tensor | None
    labels: np.ndarray
    splits: np.ndarray | None  # of each row
    classes: tuple[str, ...] | None
    names: np.ndarray | None
    groups: np.ndarray | None  # of each row, as numbers or text; never in two splits
    weights: np.ndarray | None  # of each row in training
    attribute: np.ndarray | None  # of each row, by which scores are told apart, as text
    guessed: dict[str, str]  # arrays of groups and weights that were taken for their usual name


def parts_of(
    split: str | None, arrays: Arrays, keys: Keys, attribute: str | None = None
) -> list[Part]:
    """The parts of a file: one, or one for each split that the names of its arrays say.

    `attribute` names an array with a value for each row.
    """
    if keys.features is None and _chosen(arrays, FEATURES) is None:
        by_split: dict[str, dict[str, str]] = {}
        for name in arrays.names:
            kind, of_split = kind_and_split(name)
            if of_split is not None:
                by_split.setdefault(of_split, {})[kind] = name
        split_parts = [
            _part(of_split, arrays, keys, named["features"], named.get("labels"), attribute)
            for of_split, named in sorted(by_split.items(), key=lambda item: _place(item[0]))
            if "features" in named
        ]
        if split_parts:
            return split_parts
    name = _named(arrays, keys.features, FEATURES, "features")
    return [_part(split, arrays, keys, name, None, attribute)]


def unlabelled(arrays: Arrays) -> tuple[Tensor, np.ndarray | None]:
    """The features of a file and the names of its rows, if it has such; labels are not needed.

    DataError unless one array is named as features are, or is the only one.
    """
    rows = arrays.rows(_named(arrays, None, FEATURES, "features"))
    names = _chosen(arrays, NAMES)
    return rows, None if names is None else _one_each(arrays.small(names), len(rows))


def kind_and_split(name: str) -> tuple[str, str | None]:
    """The kind and the split that a name says: ('features', 'train') for X_train.

    The kind is the name without the split where it is none of the usual ones, and 'features' where
    nothing else is left.
    """
    words = re.split(r"[_\-. ]+", name.lower())
    splits = [SPLITS[word] for word in words if word in SPLITS]
    others = "_".join(word for word in words if word not in SPLITS)
    if others in FEATURES or not others:
        return "features", splits[0] if splits else None
    if others in LABELS:
        return "labels", splits[0] if splits else None
    return others, splits[0] if splits else None


def _place(split: str) -> int:
    return ("train", "val", "test").index(split)


def _part(
    split: str | None,
    arrays: Arrays,
    keys: Keys,
    features: str,
    labels: str | None,
    attribute: str | None,
) -> Part:
    rows = arrays.rows(features)
    views = arrays.rows("views") if arrays.about and "views" in arrays.names else None
    if rows.ndim != 2 or not len(rows):
        raise DataError(
            f"expected {features} as rows (n, d) in {shown(arrays.place)}, got shape "
            f"{tuple(rows.shape)}"
        )
    splits = keys.splits or _chosen(arrays, SPLIT_COLUMNS)
    classes = keys.classes or _chosen(arrays, CLASSES)
    names = _chosen(arrays, NAMES)
    guessed = {
        key: name
        for key, usual in BESIDE.items()
        if getattr(keys, key) is None
        and (name := _chosen(arrays, usual)) is not None
        and name not in keys
    }
    return Part(
        split,
        rows,
        views,
        _labels_of(arrays, keys, labels, len(rows)),
        None if splits is None else _texts(_read(arrays, splits, "splits")),
        _class_names(arrays, classes),
        None if names is None else _one_each(arrays.small(names), len(rows)),
        _beside(arrays, "groups", keys.groups, guessed, len(rows)),
        _beside(arrays, "weights", keys.weights, guessed, len(rows)),
        None if attribute is None else _attribute(arrays, attribute, split, len(rows)),
        {} if arrays.about else guessed,  # in a file of xent-embed no name is a guess
    )


def _beside(
    arrays: Arrays, key: str, name: str | None, guessed: dict[str, str], n: int
) -> np.ndarray | None:
    """The group or the weight of each row, if there is an array of them; `name` is what was typed.

    DataError where it has another shape, or is not there.
    """
    if name == OFF:
        if OFF in arrays.names:
            raise DataError(
                f"data.{key}={OFF} means no array, and {shown(arrays.place)} has one of that name: "
                "call it otherwise"
            )
        return None
    chosen = name or guessed.get(key)
    if chosen is None:
        return None
    values = _one_each(stored := _read(arrays, chosen, key), n)
    if values is None:
        way_out = f" (data.{key}={OFF} leaves it out)" if name is None else ""
        raise DataError(
            f"expected {shown(chosen)} with a value for each of {n:,} rows of "
            f"{shown(arrays.place)}, got shape {stored.shape}{way_out}"
        )
    return values


def _attribute(arrays: Arrays, name: str, split: str | None, n: int) -> np.ndarray:
    """The value of each row, as text: the array of that name, or of that name and the split."""
    of_split = f"{name}_{split}"
    chosen = of_split if of_split in arrays.names else name
    values = _texts(_read(arrays, chosen, "attribute"))
    if values.shape != (n,):
        raise DataError(
            f"expected data.attribute={shown(name)} with a value for each of {n:,} rows of "
            f"{shown(arrays.place)}, got shape {values.shape}"
        )
    return values.astype(str)


def _labels_of(arrays: Arrays, keys: Keys, name: str | None, n: int) -> np.ndarray:
    if keys.labels is not None and keys.labels not in arrays.names:
        file = Path(keys.labels).expanduser()
        if not file.is_file():
            raise DataError(
                f"expected data.labels as the name of an array or of a file, got "
                f"{shown(keys.labels)}; {shown(arrays.place)} has {_listed(arrays)}"
            )
        values = read_labels(file, n)
    else:
        usual = keys.labels or name or _chosen(arrays, LABELS)
        if usual is None:
            raise DataError(
                f"expected labels beside the features in {shown(arrays.place)}, which has "
                f"{_listed(arrays)}; data.labels=NAME or data.labels=FILE says where they are"
            )
        values = arrays.small(usual)
    if values.ndim < 1 or len(values) != n:
        got = len(values) if values.ndim else "a single number"
        raise DataError(f"expected a label for each of {n:,} rows, got {got}")
    return values


def _chosen(arrays: Arrays, usual: Sequence[str]) -> str | None:
    """The array that has a usual name, in any case."""
    by_name = {name.lower(): name for name in reversed(arrays.names)}
    return next((by_name[name] for name in usual if name in by_name), None)


def _named(arrays: Arrays, key: str | None, usual: Sequence[str], what: str) -> str:
    name = key or _chosen(arrays, usual)
    if name is None and len(arrays.names) == 1:
        name = arrays.names[0]
    if name is None or name not in arrays.names:
        got = "none of them" if key is None else shown(key)
        raise DataError(
            f"expected {what} as {', '.join(usual[:4])} or so in {shown(arrays.place)}, which has "
            f"{_listed(arrays)}, got {got}; data.{what}=NAME chooses one"
        )
    return name


def _listed(arrays: Arrays) -> str:
    return ", ".join(map(shown, arrays.names[:8])) + ", ..." * (len(arrays.names) > 8)


def _read(arrays: Arrays, name: str, what: str) -> np.ndarray:
    if name not in arrays.names:
        raise DataError(
            f"expected data.{what} as an array of {shown(arrays.place)}, which has "
            f"{_listed(arrays)}, got {shown(name)}"
        )
    return arrays.small(name)


def _texts(values: np.ndarray) -> np.ndarray:
    """Texts, which safetensors holds as rows of bytes."""
    if values.dtype == np.uint8 and values.ndim == 2:
        values = np.ascontiguousarray(values).view(f"S{values.shape[1]}")[:, 0]
    return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values


def _class_names(arrays: Arrays, name: str | None) -> tuple[str, ...] | None:
    if arrays.about and name is None:
        return tuple(arrays.about["classes"])
    if name is None:
        return None
    return tuple(str(value) for value in _texts(_read(arrays, name, "classes")).tolist())


def _one_each(values: np.ndarray, n: int) -> np.ndarray | None:
    """The values, if there is one for each row; text is rows of bytes in safetensors."""
    if values.dtype == np.uint8 and values.ndim == 2:
        values = np.ascontiguousarray(values).view(f"S{values.shape[1]}")[:, 0]
    return values if values.shape == (n,) else None
