"""Published sets of corrupted images, read where they lie.

CIFAR-10-C, CIFAR-100-C, Tiny-ImageNet-C and ImageNet-C: Hendrycks and Dietterich, 2019,
arXiv:1903.12261. MNIST-C: Mu and Gilmer, 2019, arXiv:1906.02337.
"""

import os
from pathlib import Path
from typing import Protocol

from xent_bench.corruptions.expected import Expected
from xent_bench.corruptions.published_arrays import (
    LABELS,
    TEST_IMAGES,
    array_folders,
    arrays_by_severity,
)
from xent_bench.corruptions.published_files import class_trees
from xent_bench.data.image_files import shown
from xent_bench.data.root_folder import root_folder
from xent_bench.failures import DataError
from xent_bench.types import Images, Index, Places

LAYOUTS = (
    "NAME.npy and labels.npy (CIFAR-10-C, CIFAR-100-C), NAME/test_images.npy (MNIST-C) or "
    "NAME/SEVERITY/CLASS/FILE.JPEG (Tiny-ImageNet-C, ImageNet-C)"
)


class Part(Protocol):
    """The images under one corruption at one severity, in the order of test."""

    @property
    def labels(self) -> Index:
        """The classes of all images, which are those of test."""
        ...

    def images(self, places: Places) -> Images:
        """Read the images at these places in the order of test; only these are read."""
        ...


class PublishedSet(Protocol):
    """Images that others have corrupted. Nothing but headers is read before it is asked for."""

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions that are there, sorted."""
        ...

    def severities(self, name: str) -> tuple[int, ...]:
        """The severities at which a corruption is there."""
        ...

    def part(self, name: str, severity: int, expected: Expected) -> Part:
        """Open the images under a corruption at a severity.

        DataError unless it is there, and there is one image for each of test, of the same shape
        and label.
        """
        ...


def published_set(root: str | Path) -> PublishedSet:
    """List the corruptions in a folder, in any of the published layouts.

    DataError if the folder cannot be read or is of another layout.
    """
    folder = root_folder(str(root))
    if not folder.is_dir():
        raise DataError(f"expected a folder as shift.root, got {shown(folder)}")
    layouts = (arrays_by_severity, array_folders, class_trees)
    for layout in layouts:
        published: PublishedSet | None = layout(folder)
        if published is not None:
            return published
    raise DataError(f"expected {LAYOUTS} in shift.root={shown(folder)}{_nearby(folder)}")


def _nearby(folder: Path) -> str:
    """How the error goes on: what is missing, or a folder inside that has a layout."""
    if any(folder.glob("*.npy")) and not (folder / LABELS).is_file():
        return f", but there is no {LABELS}"
    if any(folder.glob("*/train_images.npy")):
        return f", but no folder in it has a {TEST_IMAGES}"
    with os.scandir(folder) as entries:
        inside = sorted(Path(entry) for entry in entries if entry.is_dir())
    for place in inside:
        if (place / LABELS).is_file() or any(place.glob(f"*/{TEST_IMAGES}")):
            return f": try shift.root={shown(place)}"
    return f", got {len(inside)} folders of other content" if inside else ", got no folder"
