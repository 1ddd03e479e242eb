"""A data set of your own images: one folder for each class; files are read when needed."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from xent_bench.data.class_folders import Entry, class_folders, listed, visible, with_images
from xent_bench.data.image_files import ImageFiles, shown
from xent_bench.data.image_set import ImageSet
from xent_bench.data.listing import Listing
from xent_bench.data.preparation import Preparation
from xent_bench.data.prepared_set import prepared_set
from xent_bench.data.root_folder import root_folder
from xent_bench.data.split_folders import SPLITS, split_folders, top_folder
from xent_bench.failures import DataError, UsageError
from xent_bench.ranges import ImageSize, Moments, NaturalNumber


def image_folder(
    *,
    root: str | None = None,
    train: str | None = None,
    val: str | None = None,
    test: str | None = None,
    size: ImageSize | None = None,
    shorter_side: NaturalNumber | None = None,
    interpolation: Literal["bilinear", "bicubic"] | None = None,
    channels: Literal[1, 3] = 3,
    mean: Moments | None = None,
    std: Moments | None = None,
    flip: bool = True,
    crop: NaturalNumber = 0,
) -> ImageSet:
    """Images root/train/CLASS/*.jpg, with root/val and root/test laid out likewise, if there.

    Half of val becomes val and half calib; without it both are drawn from train. Without test, val
    is the test split; without both, or with images in root/CLASS/*.jpg and no root/train, a fifth
    is drawn as test. The folders may be called training, valid, validation, dev and testing, in any
    case, and lie in the only folder of `root`. `train`, `val` and `test` name folders that lie
    apart; relative ones begin at `root`, if it is given.

    Images are reduced to `shorter_side` pixels; training sees random crops of 8 to 100 % of
    that area, evaluation the central square, both in `size` x `size` pixels; `original` keeps small
    images as they are, in memory. DataError if the layout is another.
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
    if train is not None:
        return _read_apart(root, {"train": train, "val": val, "test": test}, preparation)
    if val is not None or test is not None:
        raise DataError("expected data.train=FOLDER beside data.val and data.test, got none")
    if root is None:
        raise UsageError(
            "data.root: has to be given, as in data.root=/path/to/images; or data.train=FOLDER and "
            "data.test=FOLDER"
        )
    folder = top_folder(root_folder(root))
    names = split_folders(folder)
    if "train" not in names:
        return _read_classes(folder, preparation)
    if "test" not in names and "val" in names:
        names["test"] = names.pop("val")
    return read_folder(folder, names, preparation)


def read_folder(folder: Path, splits: dict[str, str], preparation: Preparation) -> ImageSet:
    """Read the folders of `folder` that are the splits train, val and test: {'test': 'testing'}."""
    if not os.path.isdir(folder / splits["train"]):
        missing = shown(folder / splits["train"])
        raise DataError(f"expected {missing}/CLASS/IMAGE.jpg, but there is no such folder")
    inside = sorted(entry.name for entry in visible(folder, Counter()) if os.path.isdir(entry))
    unread = tuple(shown(name) for name in inside if name not in splits.values())
    listing = Listing(
        shown(folder), splits.get("test"), unread=unread, val_folder=splits.get("val")
    )
    return _read_splits(folder, splits, preparation, listing)


def _read_apart(
    root: str | None, folders: dict[str, str | None], preparation: Preparation
) -> ImageSet:
    """Read splits from folders that lie anywhere; names are relative to what they have in common.

    Without `test` a fifth of train is drawn.
    """
    start = Path() if root is None else root_folder(root)
    paths = {
        split: os.path.abspath(start / root_folder(name))
        for split, name in folders.items()
        if name is not None
    }
    for split, path in paths.items():
        if not os.path.isdir(path):
            raise DataError(f"expected a folder as data.{split}, got {shown(path)}")
        twin = next((s for s, p in paths.items() if p == path and s != split), None)
        if twin:
            raise DataError(f"expected two folders as data.{split} and data.{twin}, got one")
    top = Path(os.path.commonpath([os.path.dirname(path) for path in paths.values()]))
    splits = {split: os.path.relpath(path, top) for split, path in paths.items()}
    listing = Listing(shown(top), splits.get("test"), val_folder=splits.get("val"))
    return _read_splits(top, splits, preparation, listing)


def _read_splits(
    folder: Path, splits: dict[str, str], preparation: Preparation, listing: Listing
) -> ImageSet:
    """Read train, test and val, in this order: earlier versions read the first two."""
    left_out: Counter[str] = Counter()
    train = folder / splits["train"]
    classes = class_folders(train, visible(train, left_out), left_out)
    names, labels = listed(splits["train"], classes, tuple(classes), left_out)
    ids = {}
    for split in ("test", "val"):
        if split in splits:
            place = splits[split]
            more_names, more_labels = _listed_later(folder, place, tuple(classes), left_out)
            if not more_names:
                raise DataError(f"expected images in {shown(folder / place)}, found none")
            ids[split] = torch.arange(len(names), len(names) + len(more_names))
            names, labels = names + more_names, labels + more_labels
    listing = replace(listing, left_out=dict(left_out))
    files = ImageFiles.of(folder, names, preparation)
    return prepared_set(files, torch.tensor(labels), tuple(classes), listing=listing, **ids)


def _read_classes(folder: Path, preparation: Preparation) -> ImageSet:
    """Read folder/CLASS/*.jpg, from which all four splits are drawn."""
    left_out: Counter[str] = Counter()
    entries = visible(folder, left_out)
    _refuse_other_layouts(folder, entries)
    classes = class_folders(folder, entries, left_out)
    names, labels = listed("", classes, tuple(classes), left_out)
    listing = Listing(shown(folder), None, dict(left_out))
    files = ImageFiles.of(folder, names, preparation)
    return prepared_set(files, torch.tensor(labels), tuple(classes), listing=listing)


def _refuse_other_layouts(folder: Path, entries: list[Entry]) -> None:
    """Refuse a folder without train/ that has no class folders either; name both layouts."""
    folders = [entry for entry in entries if os.path.isdir(entry)]
    names = sorted(shown(entry.name) for entry in folders)
    splits = [name for name in names if name.casefold() in SPLITS]
    full = with_images(folders)
    if splits:
        seen = f"a class called {splits[0]} has to lie in train/" if full else "train/ is missing"
        seen = f"it has {_some(names)}; {seen}"
    elif not folders:
        seen = "it has no folder"
    elif not full:
        seen = f"it has {_some(names)}, without images; data.root may be one of them"
    elif len(folders) < 2:
        seen = f"its only folder is {names[0]}/, and a set has two classes at least"
    else:
        return
    raise DataError(
        f"expected {shown(folder)}/train/CLASS/IMAGE.jpg or {shown(folder)}/CLASS/IMAGE.jpg, but "
        f"there is no folder {shown(folder / 'train')}, and {seen}"
    )


def _some(names: list[str]) -> str:
    return ", ".join(f"{name}/" for name in names[:4]) + (" ..." if len(names) > 4 else "")


def _listed_later(
    folder: Path, place: str, classes: tuple[str, ...], left_out: "Counter[str]"
) -> tuple[list[str], list[int]]:
    """List the test or the val split; DataError unless its classes are some of train's."""
    split = folder / place
    folders = class_folders(split, visible(split, left_out), left_out)
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        alike = [name for name in classes if name.casefold() == unknown[0].casefold()]
        hint = f" (it has {alike[0]}, in another case)" if alike else ""
        raise DataError(
            f"expected the classes of train ({', '.join(classes[:4])}"
            f"{', ...' if len(classes) > 4 else ''}) in {shown(split)}: "
            f"no class of train with an image is called {unknown[0]}{hint}"
        )
    return listed(place, folders, classes, left_out)
