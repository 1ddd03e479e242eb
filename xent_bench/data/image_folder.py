"""Your own images: a folder for each class, read when they are wanted."""

import os
from pathlib import Path

import torch

from xent_bench.data.augment import Augmentation
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.failures import DataError
from xent_bench.ranges import PositiveInt

ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
TESTS = ("test", "val")


def image_folder(*, root: str, size: PositiveInt = 224, flip: bool = True) -> ImageSet:
    """root/train/CLASS/*.jpg and, as the official test split, root/test or root/val likewise.

    Without such a split a fifth of train is drawn. Trained on random parts of 8 to 100 % of an
    image, tested on its middle, both resized to `size` pixels.
    """
    folder = Path(root).expanduser()
    split = next((name for name in TESTS if (folder / name).is_dir()), None)
    return read_folder(folder, split, size, flip)


def read_folder(folder: Path, test_split: str | None, size: int, flip: bool) -> ImageSet:
    """With the split of that name as test."""
    train = folder / "train"
    if not train.is_dir():
        raise DataError(f"expected {train}/CLASS/IMAGE.jpg: no folder {train}")
    classes = _classes(train)
    names, labels = _listed(folder, "train", classes)
    test = None
    if test_split is not None:
        strange = sorted(set(_classes(folder / test_split)) - set(classes))
        if strange:
            raise DataError(
                f"no class of train is called {strange[0]}, as in {folder / test_split}"
            )
        more_names, more_labels = _listed(folder, test_split, classes)
        test = torch.arange(len(names), len(names) + len(more_names))
        names, labels = names + more_names, labels + more_labels
    return ImageSet(
        ImageFiles.of(folder, names, size),
        torch.tensor(labels),
        classes,
        test,
        augmentation=Augmentation(flip),
    )


def _classes(split: Path) -> tuple[str, ...]:
    """Names of the folders, sorted."""
    found = tuple(sorted(entry.name for entry in _entries(split) if Path(entry).is_dir()))
    if not found:
        raise DataError(f"expected a folder of images for each class in {split}, found no folder")
    for name in found:
        if name.encode(errors="replace").decode() != name:  # pictures and MLflow could not say it
            raise DataError(f"expected the name of a class in UTF-8 in {split}, got {name!r}")
    return found


def _listed(root: Path, split: str, classes: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """Names relative to the root, sorted within each class, and the number of the class."""
    names, labels = [], []
    for number, name in enumerate(classes):
        folder = Path(split, name)
        if not (root / folder).is_dir():
            continue
        images = [e for e in _entries(root / folder) if e.name.lower().endswith(ENDINGS)]
        for image in images:
            if not image.is_file():  # a folder, a link to nowhere, a pipe that would be waited for
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
