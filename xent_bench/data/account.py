"""The data account of a run is made here: images are counted, copies found by their content."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from torch import Tensor

from xent_bench.data.decoding import MODES
from xent_bench.data.grouped_split import number_of_groups
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.data.odd_labels import odd_labels
from xent_bench.data.split import Splits
from xent_bench.runs.data_account import DataAccount, Pairs

EXAMPLES = 3  # pairs of copies, and classes, that are named
OF_GROUP = 10  # images that a class has at least, where it is said to lie in one group


def account(data: ImageSet, splits: Splits, most: int | None = EXAMPLES) -> DataAccount:
    """Count the images, and look for copies by their content: the bytes of a file, or the pixels.

    At most so many pairs of copies are named; None: all of them.
    It costs one more hash of all pixels for a set in memory, once; files have been hashed already.
    """
    counts = {
        name: np.bincount(data.index[ids].numpy(), minlength=len(data.classes))
        for name, ids in splits._asdict().items()
    }
    smallest = int(counts["train"].argmin())
    copies = _Copies(data, splits, most)
    listing = data.listing
    return DataAccount(
        images=len(data.images),
        classes=len(data.classes),
        splits={name: len(ids) for name, ids in splits._asdict().items()},
        smallest_class=data.classes[smallest],
        smallest_count=int(counts["train"][smallest]),
        absent={name: n for name, count in counts.items() if (n := int((count == 0).sum()))},
        test="drawn" if data.test is None else "official",
        shape=data.shape,
        crop=_crops(data),
        folder=None if listing is None else listing.folder,
        test_folder=None if listing is None else listing.test_folder,
        left_out={} if listing is None else listing.left_out,
        unread=() if listing is None else listing.unread,
        leaks=copies.leaks(),
        leak_examples=copies.leak_examples(),
        repeated=copies.repeated(),
        conflicts=copies.conflicts(),
        conflict_examples=copies.conflict_examples(),
        val="drawn" if data.val is None else "official",
        val_folder=None if listing is None else listing.val_folder,
        groups=None if data.groups is None else number_of_groups(data.groups),
        weights=_extremes(data, splits),
        notes=({} if listing is None else listing.notes) | _odd(data),
        **_seen(data),
    )


def _odd(data: ImageSet) -> dict[str, str]:
    """Notes on the classes; their images are counted where each has one class as its label."""
    labels = _clean_labels(data)
    is_hard = not labels.is_floating_point()
    counts = np.bincount(labels.numpy(), minlength=len(data.classes)) if is_hard else None
    notes = odd_labels(data.classes, counts)
    if data.groups is None or counts is None:
        return notes
    pairs = np.unique(np.stack([labels.numpy(), data.groups.numpy()]), axis=1)
    groups = np.bincount(pairs[0], minlength=len(counts))
    whole = [data.classes[place] for place in np.flatnonzero((groups == 1) & (counts >= OF_GROUP))]
    if not whole:
        return notes
    examples = ", ".join(whole[:EXAMPLES]) + ", ..." * (len(whole) > EXAMPLES)
    return notes | {"classes of one group, so in one split alone": examples}


def _extremes(data: ImageSet, splits: Splits) -> tuple[float, float] | None:
    if data.weights is None:
        return None
    weights = data.weights[splits.train]
    return float(weights.min()), float(weights.max())


def _seen(data: ImageSet) -> dict[str, Any]:
    """Sizes and modes of the files, where the images are files that can be read."""
    files = data.images if isinstance(data.images, ImageFiles) else data.files
    if files is None:
        return {}
    seen = files.seen
    sizes, modes = seen.sizes[~seen.is_bad], seen.modes[~seen.is_bad]
    if not len(sizes):
        return {}
    shorter = sizes.min(axis=1)
    order = np.lexsort((sizes.max(axis=1), shorter))
    of_order = {"smallest": order[0], "median": order[len(order) // 2], "largest": order[-1]}
    named = {name: tuple(sizes[place].tolist()) for name, place in of_order.items()}
    below = int((shorter < min(data.shape[1:])).sum())
    counts = np.bincount(modes, minlength=len(MODES)).tolist()
    return {
        "sizes": named | {"below": below},
        "modes": {mode: n for mode, n in zip(MODES, counts, strict=True) if n},
    }


def _crops(data: ImageSet) -> str | None:
    files = data.images if isinstance(data.images, ImageFiles) else data.files
    return None if files is None else files.preparation.crops


class _Copies:
    """Images with the same content: sorted by content, then by split, then by id."""

    def __init__(self, data: ImageSet, splits: Splits, most: int | None) -> None:
        self.data, self.splits, self.most = data, splits._fields, most
        split_of = np.full(len(data.images), -1)  # of images that are left out of all splits
        for number, ids in enumerate(splits):
            split_of[ids.numpy()] = number
        keys = data.content_keys
        self.ids = np.lexsort((split_of, keys))
        self.ids = self.ids[split_of[self.ids] >= 0]
        keys = keys[self.ids]
        self.split = split_of[self.ids]
        is_first = np.r_[True, keys[1:] != keys[:-1]]
        self.group = np.cumsum(is_first) - 1
        self.original = np.flatnonzero(is_first)[self.group]  # the place of the first of its kind
        self.is_leak = self.split > self.split[self.original]
        self.is_conflict = self._conflicts()

    def _conflicts(self) -> Bool[np.ndarray, " n"]:
        if self.data.labels.is_floating_point():  # people may well disagree about one image
            return np.zeros(len(self.ids), bool)
        label = _clean_labels(self.data).numpy()[self.ids]
        differs = label != label[self.original]
        return np.isin(self.group, self.group[differs])

    def leaks(self) -> dict[str, int]:
        counts = np.bincount(self.split[self.is_leak], minlength=len(self.splits))
        return {name: int(n) for name, n in zip(self.splits, counts, strict=True) if n}

    def leak_examples(self) -> Pairs:
        places = np.flatnonzero(self.is_leak)
        return self._pairs(places[np.argsort(-self.split[places], kind="stable")])

    def repeated(self) -> int:
        in_train = self.split == 0
        return int((in_train & (self.original != np.arange(len(self.ids)))).sum())

    def conflicts(self) -> int:
        return int(self.is_conflict.sum())

    def conflict_examples(self) -> Pairs:
        label = _clean_labels(self.data)
        places = np.flatnonzero(self.is_conflict)
        if len(places):
            first = label[self.ids[self.original[places]]]
            places = places[(label[self.ids[places]] != first).numpy()]
        return self._pairs(places)

    def _pairs(self, places: Int[np.ndarray, " m"]) -> Pairs:
        places = places[: self.most]
        firsts, copies = self.ids[self.original[places]], self.ids[places]
        return tuple(
            (self.data.name_of(int(first)), self.data.name_of(int(copy)))
            for first, copy in zip(firsts, copies, strict=True)
        )


def _clean_labels(data: ImageSet) -> Tensor:
    """The labels of the data set itself, in which noise that was added is no conflict."""
    return data.labels if data.clean is None else data.clean
