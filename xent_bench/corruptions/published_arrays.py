"""Published corrupted images in .npy files: CIFAR-10-C, CIFAR-100-C and MNIST-C."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8

from xent_bench.config.published_names import LABELS, TEST_IMAGES
from xent_bench.data.array_files import reading
from xent_bench.data.image_files import shown
from xent_bench.failures import DataError
from xent_bench.types import Index

TEST_LABELS = "test_labels.npy"
SEVERITIES = 5

Mapped: TypeAlias = UInt8[np.ndarray, "n h w channels"]


class Place(NamedTuple):
    """The files of a corruption; each of its severities has the same number of rows, in turn."""

    images: Path
    labels: Path
    severities: int


@dataclass(frozen=True)
class PublishedArrays:
    """Corrupted images of test, in the order of test, by the name of a corruption."""

    root: Path
    places: dict[str, Place]

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions that there are."""
        return tuple(self.places)

    def severities(self, name: str) -> tuple[int, ...]:
        """The severities of a corruption that there are."""
        return tuple(range(1, 1 + self._place(name).severities))

    def images(self, name: str, severity: int) -> Mapped:
        """Map the images into memory, 1 or 3 channels. DataError for an array of another form."""
        place = self._place_at(name, severity)
        array = _mapped(place.images)
        if array.ndim == 3:
            array = array[..., None]
        n, left = divmod(len(array), place.severities) if array.ndim == 4 else (0, 0)
        if array.dtype != np.uint8 or n == 0 or left or array.shape[3] not in (1, 3):
            raise DataError(
                f"expected uint8 images (n, h, w) or (n, h, w, 1 or 3) in {shown(place.images)}, "
                f"with n a multiple of {place.severities}, got {array.dtype} {array.shape}"
            )
        return array[(severity - 1) * n : severity * n]

    def labels(self, name: str, severity: int) -> Index:
        """Read the classes of these images. DataError if there are not as many as images."""
        place, n = self._place_at(name, severity), len(self.images(name, severity))
        array = _mapped(place.labels)
        if array.dtype.kind not in "iu" or array.shape not in ((n,), (n * place.severities,)):
            raise DataError(
                f"expected {n * place.severities} whole numbers in {shown(place.labels)}, a label "
                f"for each image of {shown(place.images)}, got {array.dtype} {array.shape}"
            )
        first = (severity - 1) * n if len(array) > n else 0  # some copies have one severity's
        return torch.from_numpy(array[first : first + n].astype(np.int64))

    def check(self, name: str, severity: int, labels: Index) -> None:
        """Raise a DataError unless these are corrupted images of a test split of these labels."""
        place, published = self._place_at(name, severity), self.labels(name, severity)
        if len(published) != len(labels):
            raise DataError(
                f"expected {len(labels)} images in {shown(place.images)} at severity {severity}, "
                f"as test has, got {len(published)}"
            )
        if different := int((published != labels).sum()):
            raise DataError(
                f"expected the labels of test in {shown(place.labels)}, got others for {different} "
                f"of {len(labels)} images: these are corrupted images of another data set"
            )

    def _place(self, name: str) -> Place:
        if name not in self.places:
            raise DataError(
                f"expected a corruption of {', '.join(self.names)} in shift.root={shown(self.root)}"
                f", got {name}"
            )
        return self.places[name]

    def _place_at(self, name: str, severity: int) -> Place:
        place = self._place(name)
        if not 1 <= severity <= place.severities:
            has = "1" if place.severities == 1 else f"1 to {place.severities}"
            raise DataError(
                f"{name} in shift.root={shown(self.root)} has severity {has}, got {severity}"
            )
        return place


def five_in_a_row(folder: Path) -> PublishedArrays:
    """List the corruptions of a folder like CIFAR-10-C. DataError if there is none."""
    files = sorted(file for file in folder.glob("*.npy") if file.name != LABELS)
    if not files:
        raise DataError(f"expected NAME.npy beside {shown(folder / LABELS)}, got none")
    labels = folder / LABELS
    return PublishedArrays(folder, {file.stem: Place(file, labels, SEVERITIES) for file in files})


def one_severity(folder: Path) -> PublishedArrays:
    """List the corruptions of a folder like MNIST-C."""
    files = sorted(folder.glob(f"*/{TEST_IMAGES}"))
    return PublishedArrays(
        folder,
        {file.parent.name: Place(file, file.with_name(TEST_LABELS), 1) for file in files},
    )


def _mapped(file: Path) -> np.ndarray:
    with reading(file):
        array: np.ndarray = np.load(file, mmap_mode="r", allow_pickle=False)
    return array
