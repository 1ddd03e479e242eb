"""Four disjoint splits: train, val (choose), calib (fit calibrators), test (read once)."""

import hashlib
from typing import NamedTuple

import torch

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
    and choices made on val would have seen them. The seed draws the other three. Of an official
    validation split it draws the half that is val; calib is the other half.
    """
    everything = torch.arange(len(data.images))
    test, official_val = data.test, data.val
    if test is None:
        drawable = everything
        if official_val is not None:
            drawable = everything[~torch.isin(everything, official_val)]
        drawn = drawable[_stratified_order(data.index[drawable], generator(0, "test split"))]
        test = drawn[: round(TEST * len(drawn))]
    others = everything[~torch.isin(everything, test)]
    train = others[:0]
    if official_val is not None:
        train, others = others[~torch.isin(others, official_val)], official_val.sort().values
    others = others[_stratified_order(data.index[others], generator(seed, "split"))]
    val = min(round(VAL * len(others)), MAX_IMAGES)
    calib = min(round(CALIB * len(others)), MAX_IMAGES)
    if official_val is not None:
        val = (len(others) + 1) // 2
        calib = len(others) - val
        others = torch.cat((others, train))
    sizes = [val, calib, len(others) - val - calib]
    if min(*sizes, len(test)) < 1:
        official = f", {len(test)} of them in the test split" if data.test is not None else ""
        raise DataError(f"expected enough images for four splits, got {len(everything)}{official}")
    val_ids, calib_ids, train_ids = (ids.sort().values for ids in torch.split(others, sizes))
    return Splits(train_ids, val_ids, calib_ids, test.sort().values)


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
