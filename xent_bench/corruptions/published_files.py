"""Published corrupted images in a folder for each class: ImageNet-C and Tiny-ImageNet-C."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

import numpy as np
import torch

from xent_bench.corruptions.expected import Expected, as_index, check_labels, check_number
from xent_bench.corruptions.published_arrays import check_name, check_severity
from xent_bench.data.class_folders import class_folders, listed, visible
from xent_bench.data.image_files import ImageFiles, shown
from xent_bench.data.preparation import Preparation
from xent_bench.failures import DataError
from xent_bench.types import Images, Index, Places

SEVERITIES = {str(number): number for number in range(1, 6)}  # by the names of their folders


class FilePart(NamedTuple):
    """Image files: those under one corruption at one severity, in the order of test."""

    files: ImageFiles
    labels: Index

    def images(self, places: Places) -> Images:
        """Decode the images at these places in the order of test.

        A file whose sides differ from those of test's images is cropped to its central square and
        resized. DataError names a file that cannot be read.
        """
        pixels = self.files.decode([(place, None) for place in places.tolist()])
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))


class ClassTrees:
    """NAME/SEVERITY/CLASS/FILE.JPEG, as ImageNet-C has them.

    ImageNet-C is published in archives that each unpack to some corruptions, such as
    blur/defocus_blur: a folder above NAME is allowed.
    """

    def __init__(self, folder: Path, places: dict[str, Path]) -> None:
        """Remember where the corruptions are: `places` are their folders by name."""
        self.folder, self.places = folder, places

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions that are there, sorted."""
        return tuple(sorted(self.places))

    def severities(self, name: str) -> tuple[int, ...]:
        """The severities that have a folder."""
        check_name(self.folder, name, self.names)
        return _severities(self.places[name])

    def part(self, name: str, severity: int, expected: Expected) -> FilePart:
        """The files of a severity; `PublishedSet.part` says what is refused.

        Where names of test's files are known, files are matched with these by class and name, the
        ending aside; without them they are in the order of classes and names.
        """
        check_severity(self.folder, name, severity, self.severities(name))
        folder = self.places[name] / str(severity)
        left_out: Counter[str] = Counter()
        folders = class_folders(folder, visible(folder, left_out), left_out)
        unknown = sorted(set(folders) - set(expected.classes))
        if unknown:
            raise DataError(
                f"expected the classes of test in {shown(folder)}, but none of them is called "
                f"{shown(unknown[0])}"
            )
        names, labels = listed("", folders, expected.classes, left_out)
        check_number(folder, len(names), len(expected.labels))
        order = _order(folder, names, expected.files)
        names, classes = [names[i] for i in order], np.array(labels)[order]
        check_labels(folder, classes, expected)
        return FilePart(
            ImageFiles.of(folder, names, _preparation(folder, expected)), as_index(classes)
        )


def class_trees(folder: Path) -> ClassTrees | None:
    """ImageNet-C's layout, if the folder has it."""
    places: dict[str, Path] = {}
    for entry in _folders(folder):
        inner = [entry] if _severities(entry) else _folders(entry)
        for place in inner:
            if not _severities(place):
                continue
            if place.name in places:
                raise DataError(
                    f"expected one folder of each corruption in shift.root={shown(folder)}, got "
                    f"{shown(places[place.name])} and {shown(place)}"
                )
            places[place.name] = place
    return ClassTrees(folder, places) if places else None


def _severities(folder: Path) -> tuple[int, ...]:
    """The severities that have a folder with folders in it."""
    return tuple(
        number
        for name, number in SEVERITIES.items()
        if (folder / name).is_dir() and _folders(folder / name)
    )


def _folders(folder: Path) -> list[Path]:
    return sorted(Path(entry) for entry in visible(folder, Counter()) if os.path.isdir(entry))


def _order(folder: Path, names: list[str], files: Sequence[str]) -> list[int]:
    """The places in `names` of the files of test; as they are if test is not in files."""
    if not files:
        return list(range(len(names)))
    place_of = {_key(name): place for place, name in enumerate(names)}
    order = [place_of.get(_key(file), -1) for file in files]
    missing = [file for file, place in zip(files, order, strict=True) if place < 0]
    if missing:
        raise DataError(
            f"expected a file for each of test's in {shown(folder)}, of the same class and name: "
            f"{len(missing):,} of {len(files):,} are missing, such as {shown(_key(missing[0]))}"
        )
    if len(set(order)) < len(names):
        raise DataError(f"expected one file of each name in {shown(folder)}, got more")
    return order


def _key(file: str) -> str:
    """CLASS/NAME, without folders above the class and without the ending."""
    path = PurePath(file)
    return f"{path.parent.name}/{path.stem}"


def _preparation(folder: Path, expected: Expected) -> Preparation:
    channels, height, width = expected.shape
    if height != width:
        raise DataError(
            f"{shown(folder)} can be tested on with square images only: expected data.size=N, got "
            f"images of {height} x {width} pixels"
        )
    return Preparation(height, 0, "bilinear", channels)
