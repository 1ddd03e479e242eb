"""Four disjoint splits: train, val (choose), calib (fit calibrators), test (read once)."""

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

from xent_bench.data.grouped_split import grouped_split, split_groups
from xent_bench.data.image_set import ImageSet
from xent_bench.failures import DataError
from xent_bench.randomness import generator
from xent_bench.types import Index

TEST = 0.2  # test's share of a data set that has no official test split
VAL = CALIB = 0.15  # the share of val, and that of calib, of the examples that are not in test
MAX_IMAGES = 5000  # in val, and in calib: metrics gain little from more, training does


class Splits(NamedTuple):
    """Ids of the examples in each split, sorted."""

    train: Index
    val: Index
    calib: Index
    test: Index

    def sha256(self) -> str:
        """A hash of the ids in each split."""
        content = hashlib.sha256()
        for ids in self:
            content.update(len(ids).to_bytes(8))
            content.update(ids.numpy().tobytes())
        return content.hexdigest()


def split(data: ImageSet, seed: int) -> Splits:
    """Draw the splits, stratified by class. DataError if a split would be empty.

    `test` is the same for every seed: if it changed, its examples would be in val for other seeds,
    and choices made on val would have seen them. The seed draws the other three. Half of an
    official val split is val, the other half calib, and all of the others train. A group of images
    is never in two splits.
    """
    _refuse_crossing_groups(data)
    n = len(data.images)
    official = [ids for ids in (data.test, data.val) if ids is not None]
    others = torch.arange(n)[~_among(n, official)]
    test = data.test
    if test is None:
        wanted = [round(TEST * len(others)), len(others) - round(TEST * len(others))]
        test, others = _drawn(data, others, wanted, generator(0, "test split"))
    rng = generator(seed, "split")
    if data.val is None:
        val = min(round(VAL * len(others)), MAX_IMAGES)
        calib = min(round(CALIB * len(others)), MAX_IMAGES)
        sizes = [val, calib, len(others) - val - calib]
        val_ids, calib_ids, train_ids = _drawn(data, others, sizes, rng)
    else:
        half = (len(data.val) + 1) // 2
        train_ids = others
        val_ids, calib_ids = _drawn(data, data.val.sort().values, [half, len(data.val) - half], rng)
    splits = Splits(train_ids, val_ids, calib_ids, test.sort().values)
    _refuse_empty(data, splits)
    return splits


def _among(n: int, parts: list[Tensor]) -> Tensor:
    """Whether each of n ids is in one of the parts."""
    is_among = torch.zeros(n, dtype=torch.bool)
    for ids in parts:
        is_among[ids] = True
    return is_among


def _drawn(data: ImageSet, ids: Index, sizes: list[int], rng: torch.Generator) -> list[Tensor]:
    """Divide these images at random into parts of these sizes, or about so where groups stay."""
    labels = data.index[ids]
    if data.groups is not None and len(ids):
        parts = grouped_split(labels, data.groups[ids], sizes, rng)
        return [ids[part] for part in parts]
    drawn = ids[_stratified_order(labels, rng)]
    return [part.sort().values for part in torch.split(drawn, sizes)]


def _refuse_empty(data: ImageSet, splits: Splits) -> None:
    empty = [name for name, ids in splits._asdict().items() if not len(ids)]
    if not empty:
        return
    names = [("test", data.test), ("validation", data.val)]
    official = "".join(
        f", {len(ids)} of them in the {name} split" for name, ids in names if ids is not None
    )
    groups = "" if data.groups is None else f", in {len(data.groups.unique())} groups"
    raise DataError(
        f"expected enough images for four splits, got {len(data.images)}{official}{groups}"
    )


def _refuse_crossing_groups(data: ImageSet) -> None:
    """DataError if a group is in an official split and in another part of the set."""
    if data.groups is None or (data.test is None and data.val is None):
        return
    parts = {name: ids for name in ("test", "val") if (ids := getattr(data, name)) is not None}
    parts["train"] = torch.arange(len(data.images))[~_among(len(data.images), [*parts.values()])]
    crossing = split_groups(data.groups, parts)
    if crossing:
        first, image, second, other = crossing[0]
        raise DataError(
            f"expected every group in one split, got {len(crossing)} in two: of one group are "
            f"{data.name_of(image)} in {first} and {data.name_of(other)} in {second}"
        )


def _stratified_order(labels: Index, rng: torch.Generator) -> Index:
    """A random order in which each stretch holds the classes in about their proportions.

    Example i (from 0) of a class of m is at the fraction (i + 1/2) / m of the order.
    """
    shuffled = torch.randperm(len(labels), generator=rng)
    counts = labels.bincount()
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    first = (counts.cumsum(0) - counts)[labels[by_class]]
    place = (torch.arange(len(labels)) - first + 0.5) / counts[labels[by_class]]
    return by_class[place.argsort(stable=True)]
