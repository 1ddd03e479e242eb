"""A data set of your own images: one folder for each class; files are read when needed."""

import os
from pathlib import Path

import torch

from xent_bench.data.augment import Augmentation
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.data.listing import Listing
from xent_bench.failures import DataError
from xent_bench.ranges import PositiveInt

ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
TESTS = ("test", "val")


def image_folder(*, root: str, size: PositiveInt = 224, flip: bool = True) -> ImageSet:
    """Images root/train/CLASS/*.jpg; the test split is root/test, else root/val, laid out likewise.

    Without either folder a fifth of train is drawn as test. Training sees random crops of 8 to
    100 % of an image's area, evaluation the central square; both resized to `size` x `size` pixels.
    DataError if the layout is another.
    """
    folder = Path(root).expanduser()
    split = next((name for name in TESTS if (folder / name).is_dir()), None)
    return read_folder(folder, split, size, flip)


def read_folder(folder: Path, test_split: str | None, size: int, flip: bool) -> ImageSet:
    """Read folder/train and, as the official test split, folder/TEST_SPLIT if one is named."""
    train = folder / "train"
    if not train.is_dir():
        raise DataError(f"expected {train}/CLASS/IMAGE.jpg, but there is no folder {train}")
    classes = _classes(train)
    names, labels = _listed(folder, "train", classes)
    test = None
    if test_split is not None:
        unknown = sorted(set(_classes(folder / test_split)) - set(classes))
        if unknown:
            raise DataError(
                f"expected the classes of train in {folder / test_split}: "
                f"no class of train is called {unknown[0]}"
            )
        test_names, test_labels = _listed(folder, test_split, classes)
        test = torch.arange(len(names), len(names) + len(test_names))
        names, labels = names + test_names, labels + test_labels
    return ImageSet(
        ImageFiles.of(folder, names, size),
        torch.tensor(labels),
        classes,
        test,
        augmentation=Augmentation(flip),
        listing=Listing(str(folder), test_split),
    )


def _classes(split: Path) -> tuple[str, ...]:
    """The classes of a split: the names of its folders, sorted."""
    classes = tuple(sorted(entry.name for entry in _entries(split) if Path(entry).is_dir()))
    if not classes:
        raise DataError(f"expected a folder of images for each class in {split}, found no folder")
    for name in classes:
        if name.encode(errors="replace").decode() != name:  # plots and MLflow could not write it
            raise DataError(f"expected the name of a class in UTF-8 in {split}, got {name!r}")
    return classes


def _listed(root: Path, split: str, classes: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """The images' names relative to the root, sorted within each class, and their class numbers."""
    names, labels = [], []
    for number, name in enumerate(classes):
        folder = Path(split, name)
        if not (root / folder).is_dir():
            continue
        images = [e for e in _entries(root / folder) if e.name.lower().endswith(ENDINGS)]
        for image in images:
            if not image.is_file():  # a folder, a broken link, a pipe that would block
                raise DataError(f"expected an image, {image.path} is no file")
        if not images:
            raise DataError(f"expected images in {root / folder}, found none ({' '.join(ENDINGS)})")
        names += [f"{folder}/{file}" for file in sorted(image.name for image in images)]
        labels += [number] * len(images)
    return names, labels


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        return list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error
