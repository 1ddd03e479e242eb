"""A data set of features: vectors that a frozen net has made of images, with their labels."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from xent_bench.data.array_files import ENDINGS, Arrays, folder_of_arrays, open_arrays
from xent_bench.data.attribute import Attribute
from xent_bench.data.feature_labels import classes_and_labels
from xent_bench.data.feature_parts import SPLITS, Keys, Part, kind_and_split, parts_of
from xent_bench.data.image_files import shown
from xent_bench.data.image_set import ImageSet
from xent_bench.data.listing import Listing
from xent_bench.data.root_folder import root_folder
from xent_bench.data.vectors import Vectors
from xent_bench.failures import DataError


def features(
    *,
    root: str,
    features: str | None = None,
    labels: str | None = None,
    splits: str | None = None,
    classes: str | None = None,
    normalise: Literal["none", "standard", "unit"] = "none",
    attribute: str | None = None,
    groups: str | None = None,
    weights: str | None = None,
) -> ImageSet:
    """Vectors of the file `root`, or of a folder with a file for each of train, val and test.

    Read: what xent-embed wrote, .npz, .npy, .safetensors and .parquet, with features (n, d) in
    float16 or float32, which stay in the file. `features`, `labels`, `splits` and `classes` name
    the arrays or columns; `labels` may also be a file. An official validation split becomes val and
    calib. `normalise`: standard shifts and scales each feature by its moments on train, unit
    divides each vector by its length. `attribute` names an array by whose values scores on test are
    told apart. `groups` and `weights` name the arrays that say which rows are never in two splits
    and how a row counts in training; none: not even those of a usual name. DataError for rows with
    NaN, and for a file without labels.
    """
    place = root_folder(root)
    keys = Keys(features, labels, splits, classes, groups, weights)
    sources = list(_sources(place))
    parts = [part for split, arrays in sources for part in parts_of(split, arrays, keys, attribute)]
    names, target = _labels(parts)
    test, val = _official(parts)
    vectors = Vectors(
        tuple(part.rows for part in parts),
        _views(parts),
        tuple(file for _, arrays in sources for file in arrays.files),
        json.dumps(keys[:4]),  # groups and weights change neither vectors nor labels
        _joined([part.names for part in parts]),
        normalise,
    )
    return ImageSet(
        vectors,
        target,
        names,
        test,
        listing=Listing(shown(place), notes=_notes(parts)),
        val=val,
        groups=_groups(parts),
        weights=_weights(parts),
        attribute=_attribute(parts, attribute),
    )


def _notes(parts: Sequence[Part]) -> dict[str, str]:
    """The arrays that were taken for groups and weights by their name, and what leaves them out."""
    words = [
        f"{key} from {shown(name)} (data.{key}=none leaves it out)"
        for key, name in parts[0].guessed.items()
        if all(key in part.guessed for part in parts)
    ]
    return {"read": ", ".join(words)} if words else {}


def _sources(place: Path) -> Iterator[tuple[str | None, Arrays]]:
    """The files of features, each with the split that its name says, if it is one of several."""
    if not place.is_dir():
        if not place.exists():
            raise DataError(f"expected features in {shown(place)}, but there is no such file")
        yield None, open_arrays(place)
        return
    files = sorted(file for file in place.iterdir() if file.suffix.lower() in ENDINGS)
    whole = [file for file in files if file.suffix.lower() != ".npy"]
    by_split = {kind_and_split(file.stem)[1]: file for file in whole}
    if whole and len(by_split) == len(whole) and "train" in by_split:
        order = [split for split in ("train", "val", "test") if split in by_split]
        yield from ((split, open_arrays(by_split[split])) for split in order)
    elif files and not whole:
        yield None, folder_of_arrays(place, files)
    else:
        listed = ", ".join(shown(file.name) for file in files[:6]) or "none of them"
        raise DataError(
            f"expected train.npz, and val.npz and test.npz if there are such, or train_features.npy"
            f" and train_labels.npy and so on, in {shown(place)}, got {listed}"
        )


def _labels(parts: Sequence[Part]) -> tuple[tuple[str, ...], Tensor]:
    classes = parts[0].classes
    if any(part.classes != classes for part in parts):
        raise DataError("expected the same classes in each file")
    kinds = {(part.labels.ndim, part.labels.dtype.kind in "US") for part in parts}
    if len(kinds) > 1 or len({part.labels.shape[1:] for part in parts}) > 1:
        raise DataError("expected labels of one kind in each split: numbers, names or rows")
    return classes_and_labels(np.concatenate([part.labels for part in parts]), classes)


def _views(parts: Sequence[Part]) -> tuple[Tensor, ...]:
    views = tuple(part.views for part in parts if part.views is not None)
    if not views:
        return ()
    shapes = [(len(part.rows), *view.shape[1:2]) for part, view in zip(parts, views, strict=False)]
    fits = len(views) == len(parts) and all(view.ndim == 3 for view in views)
    if not fits or any(
        tuple(view.shape[:2]) != shape for view, shape in zip(views, shapes, strict=True)
    ):
        raise DataError("expected views (n, views, d) of each row, in each file or in none")
    return views


def _joined(columns: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """The values of all parts; None unless each part has them."""
    values = [column for column in columns if column is not None]
    return np.concatenate(values) if len(values) == len(columns) else None


def _groups(parts: Sequence[Part]) -> Tensor | None:
    groups = _joined([part.groups for part in parts])
    if groups is None:
        return None
    return torch.from_numpy(np.unique(groups, return_inverse=True)[1].astype(np.int64))


def _attribute(parts: Sequence[Part], name: str | None) -> Attribute | None:
    values = _joined([part.attribute for part in parts])
    return None if values is None or name is None else Attribute.of(name, values.tolist())


def _weights(parts: Sequence[Part]) -> Tensor | None:
    weights = _joined([part.weights for part in parts])
    if weights is None:
        return None
    if weights.dtype.kind not in "fiu":
        raise DataError(f"expected numbers as weights, got {weights.dtype}")
    return torch.from_numpy(weights.astype(np.float64))


def _official(parts: Sequence[Part]) -> tuple[Tensor | None, Tensor | None]:
    """The ids of the official test split and of the official validation split."""
    split_of = np.concatenate(
        [
            np.full(len(part.rows), part.split or "train") if part.splits is None else part.splits
            for part in parts
        ]
    )
    if split_of.shape != (sum(len(part.rows) for part in parts),):
        raise DataError(f"expected a split for each row, got shape {split_of.shape}")
    names, places = np.unique(split_of, return_inverse=True)
    usual = {name: SPLITS.get(str(name).lower().strip()) for name in names.tolist()}
    unknown = [name for name, split in usual.items() if split is None]
    if unknown:
        raise DataError(f"expected splits called train, val and test, got {unknown[0]!r}")
    splits = np.array([str(usual[name]) for name in names])[places]
    if not (splits == "train").any():
        raise DataError(f"expected rows of train, got {' and '.join(sorted(set(splits)))} alone")
    test, val = (torch.from_numpy(np.flatnonzero(splits == name)) for name in ("test", "val"))
    return test if len(test) else None, val if len(val) else None
