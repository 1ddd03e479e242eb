"""Four disjoint splits: train, val (choose), calib (fit the temperature), test (read once)."""

import hashlib
from typing import NamedTuple

import torch

from xent_bench.data.image_set import ImageSet
from xent_bench.failures import DataError
from xent_bench.randomness import generator
from xent_bench.types import Index

TEST = 0.2  # of a set that has no official test split
VAL = CALIB = 0.15  # of the rest, each
AT_MOST = 5000  # in val and in calib: metrics gain little from more, training does


class Splits(NamedTuple):
    """Ids of the examples in each split, sorted."""

    train: Index
    val: Index
    calib: Index
    test: Index

    def sha256(self) -> str:
        """A hash of which example is where."""
        content = hashlib.sha256()
        for ids in self:
            content.update(len(ids).to_bytes(8))
            content.update(ids.numpy().tobytes())
        return content.hexdigest()


def split(data: ImageSet, seed: int) -> Splits:
    """Stratified by class. `test` is the same for every seed; the others are drawn by the seed.

    (A test split that moved with the seed would hold what another seed's val had chosen by.)
    """
    everything = torch.arange(len(data.images))
    test = data.test
    if test is None:
        drawn = _stratified_order(data.index, generator(0, "test split"))
        test = drawn[: round(TEST * len(drawn))]
    rest = everything[~torch.isin(everything, test)]
    rest = rest[_stratified_order(data.index[rest], generator(seed, "split"))]
    val = min(round(VAL * len(rest)), AT_MOST)
    calib = min(round(CALIB * len(rest)), AT_MOST)
    sizes = [val, calib, len(rest) - val - calib]
    if min(*sizes, len(test)) < 1:
        raise DataError(f"expected images enough for four splits, got {len(everything)}")
    val_ids, calib_ids, train_ids = (ids.sort().values for ids in torch.split(rest, sizes))
    return Splits(train_ids, val_ids, calib_ids, test.sort().values)


def _stratified_order(labels: Index, rng: torch.Generator) -> Index:
    """A random order of which every stretch holds the classes in about their shares.

    The i-th example of a class of m comes at (i + 1/2) / m of the way.
    """
    shuffled = torch.randperm(len(labels), generator=rng)
    counts = labels.bincount()
    by_class = shuffled[labels[shuffled].argsort(stable=True)]
    first = (counts.cumsum(0) - counts)[labels[by_class]]
    place = (torch.arange(len(labels)) - first + 0.5) / counts[labels[by_class]]
    return by_class[place.argsort(stable=True)]
