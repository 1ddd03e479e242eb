"""CIFAR: 60,000 photographs of 32 x 32 pixels, 10 or 100 classes.  Krizhevsky, 2009, Toronto."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from xent_bench.data.augment import Augmentation
from xent_bench.data.cifar_files import (
    Batch,
    binary_batch,
    pickled_batch,
    pickled_names,
    written_names,
)
from xent_bench.data.image_checks import check_classes
from xent_bench.data.image_files import shown
from xent_bench.data.image_set import ImageSet
from xent_bench.data.listing import Listing
from xent_bench.data.root_folder import root_folder
from xent_bench.data.votes_file import votes_of
from xent_bench.failures import DataError
from xent_bench.ranges import Moments, NaturalNumber

DOWNLOADS = Path("data")  # where torchvision downloads to when no root is given


def cifar10(
    *,
    root: str | None = None,
    votes: str | None = None,
    download: bool = False,
    flip: bool = True,
    crop: NaturalNumber = 4,
    mean: Moments | None = None,
    std: Moments | None = None,
) -> ImageSet:
    """CIFAR-10: 50,000 images for training, 10,000 in the official test split; 6,000 of each class.

    The files are read from `root` or from the folder of the published name in it; without a root,
    from `data`, where an earlier download put them. `votes` is a file of votes on the test images,
    such as those of CIFAR-10H: labels are rows then, those of the other images one-hot. DataError
    if a file is missing or damaged.
    """
    images = _image_set("CIFAR10", root, download, Augmentation(flip, crop))
    if votes is not None:
        images = _with_votes(images, root_folder(votes), DOWNLOADS if root is None else root)
    return replace(images, mean=mean, std=std)


def _with_votes(images: ImageSet, file: Path, folder: Path | str) -> ImageSet:
    """Make rows of all labels: votes on the test images, one-hot rows of the others."""
    assert images.test is not None
    votes, line = votes_of(file, images.labels[images.test], len(images.classes))
    labels = F.one_hot(images.labels, len(images.classes)).double()
    labels[images.test] = votes
    return replace(images, labels=labels, listing=Listing(shown(folder), notes={"votes": line}))


def cifar100(
    *,
    root: str | None = None,
    download: bool = False,
    flip: bool = True,
    crop: NaturalNumber = 4,
    mean: Moments | None = None,
    std: Moments | None = None,
) -> ImageSet:
    """CIFAR-100: 100 classes of 600 images, split and read like CIFAR-10, without superclasses."""
    images = _image_set("CIFAR100", root, download, Augmentation(flip, crop))
    return replace(images, mean=mean, std=std)


class Version(NamedTuple):
    """One published form of a data set: a folder with batches of images and the classes' names."""

    folder: str
    batches: tuple[str, ...]  # files; the last is the test split
    names: str  # file
    read_batch: Callable[[Path], Batch]
    read_names: Callable[[Path], tuple[str, ...]]


VERSIONS = {
    "CIFAR10": (
        Version(
            "cifar-10-batches-py",
            (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"),
            "batches.meta",
            partial(pickled_batch, key=b"labels"),
            partial(pickled_names, key=b"label_names"),
        ),
        Version(
            "cifar-10-batches-bin",
            (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
            "batches.meta.txt",
            partial(binary_batch, label_bytes=1),
            written_names,
        ),
    ),
    "CIFAR100": (
        Version(
            "cifar-100-python",
            ("train", "test"),
            "meta",
            partial(pickled_batch, key=b"fine_labels"),
            partial(pickled_names, key=b"fine_label_names"),
        ),
        Version(
            "cifar-100-binary",
            ("train.bin", "test.bin"),
            "fine_label_names.txt",
            partial(binary_batch, label_bytes=2),
            written_names,
        ),
    ),
}
CLASSES = {"CIFAR10": 10, "CIFAR100": 100}


def _image_set(name: str, root: str | None, download: bool, augmentation: Augmentation) -> ImageSet:
    folder = DOWNLOADS if root is None else root_folder(root)
    complete = _find(name, folder)
    if complete is None and download:
        _download(name, folder)
        complete = _find(name, folder)
    if complete is None:
        raise DataError(_missing(name, folder))
    place, version = complete
    classes = _classes(place / version.names, version, CLASSES[name])
    batches = [_batch(place / file, version, len(classes)) for file in version.batches]
    pixels = np.concatenate([batch.pixels for batch in batches]).reshape(-1, 3, 32, 32)
    labels = [label for batch in batches for label in batch.labels]
    n, test = len(pixels), len(batches[-1].labels)
    return ImageSet(
        torch.from_numpy(pixels),
        torch.tensor(labels),
        classes,
        test=torch.arange(n - test, n),
        augmentation=augmentation,
    )


def _places(name: str, folder: Path) -> list[tuple[Path, Version]]:
    """The folders that may hold a data set, each with the published form to look for there."""
    return [
        (place, version)
        for version in VERSIONS[name]
        for place in (folder, folder / version.folder)
    ]


def _lacking(place: Path, version: Version) -> list[str]:
    """The files of a published form that a folder does not hold."""
    files = (*version.batches, version.names)
    return [file for file in files if not (place / file).is_file()]


def _find(name: str, folder: Path) -> tuple[Path, Version] | None:
    """The first folder that holds every file of a published form, and that form; None without."""
    places = _places(name, folder)
    return next((candidate for candidate in places if not _lacking(*candidate)), None)


def _missing(name: str, folder: Path) -> str:
    """The error text if no folder holds a whole data set.

    It lists what is missing from the folder that lacks fewest files, or, if no folder holds any,
    where they were looked for.
    """
    places = _places(name, folder)
    python, binary = (version.folder for version in VERSIONS[name])
    ways = f"set data.root=FOLDER to where {python} or {binary} lies, or set data.download=true"
    place, version = min(places, key=lambda candidate: len(_lacking(*candidate)))
    lacking = _lacking(place, version)
    if len(lacking) <= len(version.batches):  # at least one file is there
        return f"{name} is not complete: no {', '.join(lacking)} in {place}: {ways}"
    searched = ", ".join(dict.fromkeys(str(place) for place, _ in places))
    return f"{name}'s files not found in {searched}: {ways}"


def _download(name: str, folder: Path) -> None:
    from torchvision import datasets  # takes seconds to import

    try:
        getattr(datasets, name)(folder, download=True)
    except (OSError, RuntimeError) as error:  # no network, disk full, a damaged file
        reason = " ".join(str(error).split())
        raise DataError(f"cannot download {name} into {folder}: {reason}") from error


def _classes(file: Path, version: Version, expected: int) -> tuple[str, ...]:
    classes = version.read_names(file)
    if len(classes) != expected:
        raise DataError(f"expected the names of {expected} classes in {file}, got {len(classes)}")
    try:
        check_classes(classes)
    except DataError as error:
        raise DataError(f"cannot read {file}: {error}") from error
    return classes


def _batch(file: Path, version: Version, classes: int) -> Batch:
    batch = version.read_batch(file)
    low, high = min(batch.labels), max(batch.labels)
    if not 0 <= low <= high < classes:
        raise DataError(f"expected labels from 0 to {classes - 1} in {file}, got {low} to {high}")
    return batch
