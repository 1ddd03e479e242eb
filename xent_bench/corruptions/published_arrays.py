"""Published corrupted images in NumPy's format, mapped into memory: CIFAR-10-C and MNIST-C."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8

from xent_bench.corruptions.expected import (
    Expected,
    as_index,
    check_labels,
    check_number,
    whole_numbers,
)
from xent_bench.data.array_files import reading
from xent_bench.data.image_files import shown
from xent_bench.failures import DataError
from xent_bench.types import Images, Index, Places

SEVERITIES = (1, 2, 3, 4, 5)
LABELS, TEST_IMAGES, TEST_LABELS = "labels.npy", "test_images.npy", "test_labels.npy"


class ArrayPart(NamedTuple):
    """Rows of a mapped array: the images under one corruption at one severity."""

    pixels: UInt8[np.ndarray, "n h w channels"]
    labels: Index

    def images(self, places: Places) -> Images:
        """Read the images at these places in the order of test."""
        rows = self.pixels[places.numpy()]
        return torch.from_numpy(np.ascontiguousarray(rows.transpose(0, 3, 1, 2)))


class ArraysBySeverity:
    """NAME.npy with all severities one after the other, and one labels.npy: CIFAR-10-C.

    Each severity has the images of test in their order.
    """

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        """Remember where the files are."""
        self.folder, self.names = folder, names

    def severities(self, name: str) -> tuple[int, ...]:
        """1 to 5: each file has them all."""
        check_name(self.folder, name, self.names)
        return SEVERITIES

    def part(self, name: str, severity: int, expected: Expected) -> ArrayPart:
        """The images of a severity; `PublishedSet.part` says what is refused."""
        check_severity(self.folder, name, severity, self.severities(name))
        file, n = self.folder / f"{name}.npy", len(expected.labels)
        pixels, labels = _images(file, expected), self._labels
        for place, number in ((file, len(pixels)), (self.folder / LABELS, len(labels))):
            if number != n * len(SEVERITIES):
                raise DataError(
                    f"expected {len(SEVERITIES)} x {n:,} images in {shown(place)}, all of test at "
                    f"each severity, got {number:,}: shift.root has to be the corrupted copy of "
                    "the data set that is tested"
                )
        rows = slice((severity - 1) * n, severity * n)
        check_labels(self.folder / LABELS, labels[rows], expected)
        return ArrayPart(pixels[rows], as_index(labels[rows]))

    @cached_property
    def _labels(self) -> np.ndarray:
        file = self.folder / LABELS
        return whole_numbers(file, _mapped(file))


class ArrayFolders:
    """NAME/test_images.npy and NAME/test_labels.npy, at one severity, called 1: MNIST-C."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        """Remember where the files are."""
        self.folder, self.names = folder, names

    def severities(self, name: str) -> tuple[int, ...]:
        """Only 1."""
        check_name(self.folder, name, self.names)
        return (1,)

    def part(self, name: str, severity: int, expected: Expected) -> ArrayPart:
        """The images of a corruption; `PublishedSet.part` says what is refused."""
        check_severity(self.folder, name, severity, self.severities(name))
        images, labels = (self.folder / name / file for file in (TEST_IMAGES, TEST_LABELS))
        pixels = _images(images, expected)
        check_number(images, len(pixels), len(expected.labels))
        classes = whole_numbers(labels, _mapped(labels))
        check_labels(labels, classes, expected)
        return ArrayPart(pixels, as_index(classes))


def arrays_by_severity(folder: Path) -> ArraysBySeverity | None:
    """CIFAR-10-C's layout, if the folder has it."""
    names = sorted(file.stem for file in folder.glob("*.npy") if file.name != LABELS)
    is_complete = names and (folder / LABELS).is_file()
    return ArraysBySeverity(folder, tuple(names)) if is_complete else None


def array_folders(folder: Path) -> ArrayFolders | None:
    """MNIST-C's layout, if the folder has it."""
    names = sorted(file.parent.name for file in folder.glob(f"*/{TEST_IMAGES}"))
    return ArrayFolders(folder, tuple(names)) if names else None


def check_severity(folder: Path, name: str, severity: int, severities: tuple[int, ...]) -> None:
    """DataError unless a corruption is there at this severity."""
    if severity not in severities:
        there = ", ".join(map(str, severities)) or "none"
        raise DataError(
            f"no {shown(name)} at severity {severity} in shift.root={shown(folder)}: expected "
            f"shift.severities of {there}"
        )


def check_name(folder: Path, name: str, names: tuple[str, ...]) -> None:
    """DataError unless a corruption of this name is there."""
    if name not in names:
        raise DataError(
            f"no {shown(name)} in shift.root={shown(folder)}: expected shift.names of "
            f"{', '.join(map(shown, names))}"
        )


def _images(file: Path, expected: Expected) -> UInt8[np.ndarray, "n h w channels"]:
    """A mapped array of images. DataError unless they have the shape of test's images."""
    pixels = _mapped(file)
    channels, height, width = expected.shape
    if pixels.ndim == 3 and channels == 1:  # grey images without an axis for the channel
        pixels = pixels[..., None]
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (height, width, channels):
        shape = f"(n, {height}, {width}, {channels})"
        raise DataError(
            f"expected images in uint8 of shape {shape} in {shown(file)}, got {pixels.dtype} of "
            f"shape {pixels.shape}"
        )
    return pixels


def _mapped(file: Path) -> np.ndarray:
    """The array of a .npy file, mapped and not read. DataError if it is no such file."""
    with reading(file):
        array: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
        return array
