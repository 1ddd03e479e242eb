"""A data set of your own images: one folder for each class; files are read when needed."""

import os
from collections import Counter
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
from xent_bench.failures import DataError
from xent_bench.ranges import ImageSize, Moments, NaturalNumber

TESTS = ("test", "val")
# names of splits, in small letters; a class of that name has to lie in train/
SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"}


def image_folder(
    *,
    root: str,
    size: ImageSize | None = None,
    shorter_side: NaturalNumber | None = None,
    interpolation: Literal["bilinear", "bicubic"] | None = None,
    channels: Literal[1, 3] = 3,
    mean: Moments | None = None,
    std: Moments | None = None,
    flip: bool = True,
    crop: NaturalNumber = 0,
) -> ImageSet:
    """Images root/train/CLASS/*.jpg; the test split is root/test, else root/val, laid out likewise.

    Without either folder, or with images in root/CLASS/*.jpg and no root/train, a fifth is drawn as
    test. Images are reduced to `shorter_side` pixels; training sees random crops of 8 to 100 % of
    that area, evaluation the central square, both in `size` x `size` pixels; `original` keeps small
    images as they are, in memory. DataError if the layout is another.
    """
    folder = root_folder(root)
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
    if not os.path.isdir(folder / "train"):
        return _read_classes(folder, preparation)
    split = next((name for name in TESTS if os.path.isdir(folder / name)), None)
    return read_folder(folder, split, preparation)


def read_folder(folder: Path, test_split: str | None, preparation: Preparation) -> ImageSet:
    """Read folder/train and, as the official test split, folder/TEST_SPLIT if one is named."""
    train = folder / "train"
    if not os.path.isdir(train):
        raise DataError(f"expected {shown(train)}/CLASS/IMAGE.jpg, but there is no such folder")
    left_out: Counter[str] = Counter()
    splits = sorted(entry.name for entry in visible(folder, Counter()) if os.path.isdir(entry))
    classes = class_folders(train, visible(train, left_out), left_out)
    names, labels = listed("train", classes, tuple(classes), left_out)
    test = None
    if test_split is not None:
        test_names, test_labels = _listed_test(folder, test_split, tuple(classes), left_out)
        test = torch.arange(len(names), len(names) + len(test_names))
        names, labels = names + test_names, labels + test_labels
    unread = tuple(shown(name) for name in splits if name not in ("train", test_split))
    listing = Listing(shown(folder), test_split, dict(left_out), unread)
    return _image_set(folder, names, labels, tuple(classes), preparation, test, listing)


def _read_classes(folder: Path, preparation: Preparation) -> ImageSet:
    """Read folder/CLASS/*.jpg, from which all four splits are drawn."""
    left_out: Counter[str] = Counter()
    entries = visible(folder, left_out)
    _refuse_other_layouts(folder, entries)
    classes = class_folders(folder, entries, left_out)
    names, labels = listed("", classes, tuple(classes), left_out)
    listing = Listing(shown(folder), None, dict(left_out))
    return _image_set(folder, names, labels, tuple(classes), preparation, None, listing)


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


def _listed_test(
    folder: Path, test_split: str, classes: tuple[str, ...], left_out: "Counter[str]"
) -> tuple[list[str], list[int]]:
    """List the test split; DataError unless its classes are some of train's."""
    test = folder / test_split
    folders = class_folders(test, visible(test, left_out), left_out)
    unknown = sorted(set(folders) - set(classes))
    if unknown:
        raise DataError(
            f"expected the classes of train ({', '.join(classes[:4])}"
            f"{', ...' if len(classes) > 4 else ''}) in {shown(test)}: "
            f"no class of train is called {unknown[0]}"
        )
    return listed(test_split, folders, classes, left_out)


def _image_set(
    folder: Path,
    names: list[str],
    labels: list[int],
    classes: tuple[str, ...],
    preparation: Preparation,
    test: torch.Tensor | None,
    listing: Listing,
) -> ImageSet:
    files = ImageFiles.of(folder, names, preparation)
    return prepared_set(files, torch.tensor(labels), classes, test=test, listing=listing)
