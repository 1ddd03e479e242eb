"""The data set as the harness sees it: images, in memory or in files, and their labels."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xent_bench.data.augment import NO_AUGMENTATION, Augmentation
from xent_bench.data.batches import Normalisation, Source
from xent_bench.data.image_files import MEAN, STD, ImageFiles
from xent_bench.data.listing import Listing
from xent_bench.data.resident import Resident
from xent_bench.data.streamed import Streamed
from xent_bench.failures import DataError
from xent_bench.types import ClassCounts, Distribution, Index


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels: for each image a class or a distribution over the classes.

    An image's id is its position. `test` holds the ids of the official test split; without one
    (None) a fifth is drawn, the same for every seed. `posterior` maps ids to p(y|x), rows in
    float64, if that is known: runs then report how far their predictions are from it. `listing`
    says what a loader left out of its folder; it is shown and not hashed. DataError for values of a
    wrong type, shape or range.
    """

    images: Tensor | ImageFiles  # uint8 (n, channels, h, w), or files that are read when needed
    labels: Tensor  # int64 (n,), or float (n, c) with rows that sum to 1
    classes: tuple[str, ...]  # names
    test: Tensor | None = None
    augmentation: Augmentation = NO_AUGMENTATION
    posterior: Callable[[Index], Distribution] | None = None
    listing: Listing | None = None

    def __post_init__(self) -> None:
        """Refuse values that training would accept without an error, such as a label of -100."""
        for name, kinds in (("images", (Tensor, ImageFiles)), ("labels", (Tensor,))):
            if not isinstance(getattr(self, name), kinds):
                got = type(getattr(self, name)).__name__
                raise DataError(f"expected {name} as a torch tensor, got {got}")
        if isinstance(self.images, Tensor):
            _check_images(self.images, self.augmentation)
        if len(self.classes) < 2:
            raise DataError(f"expected at least two classes, got {len(self.classes)}")
        n = len(self.images)
        if self.test is not None:
            _check_ids(self.test, n)
        if len(self.labels) != n:
            raise DataError(f"expected a label for each of {n} images, got {len(self.labels)}")
        check = _check_soft_labels if self.labels.is_floating_point() else _check_labels
        check(self.labels, len(self.classes))

    @property
    def index(self) -> Index:
        """The class of each example, for stratified splits; for soft labels the likeliest class.

        No metric uses it.
        """
        return self.labels.argmax(dim=1) if self.labels.is_floating_point() else self.labels

    def class_counts(self, ids: Index) -> ClassCounts:
        """The number of these images in each class (c,); for soft labels the sum of their rows."""
        if self.labels.is_floating_point():
            return self.labels[ids].double().sum(dim=0)
        return self.labels[ids].bincount(minlength=len(self.classes))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, h, w = self.images.shape
        return channels, h, w

    def name_of(self, image: int) -> str:
        """The name of an image by its id: its file's, relative to the root, or 'image 17'."""
        if isinstance(self.images, Tensor):
            return f"image {image}"
        return self.images.name_of(image)

    def true_posterior(self, ids: Index) -> np.ndarray | None:
        """p(y|x) of these images, (n, c) in float64; None if the data set does not know it.

        DataError unless there is one distribution for each image.
        """
        if self.posterior is None:
            return None
        rows = self.posterior(ids)
        if not isinstance(rows, Tensor) or len(rows) != len(ids):
            got = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise DataError(f"expected p(y|x) of {len(ids)} images as a tensor of rows, got {got}")
        _check_soft_labels(rows, len(self.classes))
        return rows.double().numpy()

    def sha256(self) -> str:
        """A hash of all pixels and labels; for files, of names and bytes instead of pixels."""
        content = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        if isinstance(self.images, Tensor):
            content.update(self.images.contiguous().numpy().tobytes())
        else:
            content.update(self.images.sha256().encode())
        content.update(self.labels.contiguous().numpy().tobytes())
        return content.hexdigest()

    def normalisation(self, ids: Index) -> Normalisation:
        """The normalisation by the moments of these images; images in files use ImageNet's."""
        if isinstance(self.images, Tensor):
            return Normalisation.of(self.images[ids])
        mean, std = (torch.tensor(moment)[:, None, None] for moment in (MEAN, STD))
        return Normalisation(mean, std)

    def source(
        self, ids: Index, device: torch.device, workers: int | None, *, varied: bool = False
    ) -> Source:
        """A reader of these images; `varied` prepares it to mirror and crop them.

        `workers` is the number of processes that decode files; None: one for each core.
        """
        if isinstance(self.images, Tensor):
            augmentation = self.augmentation if varied else NO_AUGMENTATION
            return Resident(self.images[ids], device, augmentation)
        files = self.images.part(ids.numpy())
        return Streamed(files, device, workers, flip=self.augmentation.flip)


def _check_images(images: Tensor, augmentation: Augmentation) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        got = f"{images.dtype} of shape {tuple(images.shape)}"
        raise DataError(f"expected images in uint8, (n, channels, h, w), got {got}")
    size = min(images.shape[2:])
    if augmentation.crop >= size:
        raise DataError(f"expected data.crop below the images' {size} pixels: {augmentation.crop}")


def _check_ids(test: Tensor, n: int) -> None:
    if test.dtype != torch.int64 or test.ndim != 1:
        got = f"{test.dtype} of shape {tuple(test.shape)}"
        raise DataError(f"expected the ids of test in int64, (m,), got {got}")
    if len(set(test.tolist())) != len(test) or not ((test >= 0) & (test < n)).all():
        raise DataError(f"expected the ids of test to be different, from 0 to {n - 1}")


def _check_labels(labels: Tensor, c: int) -> None:
    if labels.dtype != torch.int64 or labels.ndim != 1:
        got = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise DataError(f"expected labels in int64, (n,), or soft ones in float, got {got}")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < c:
        low, high = int(labels.min()), int(labels.max())
        raise DataError(f"expected labels from 0 to {c - 1}, got {low} to {high}")


def _check_soft_labels(labels: Tensor, c: int) -> None:
    if labels.dtype == torch.bfloat16:  # NumPy lacks the type, and its three digits are too few
        raise DataError("expected soft labels in float32 or float64, got bfloat16")
    if labels.shape[1:] != (c,):
        got = tuple(labels.shape)
        raise DataError(f"expected soft labels of shape ({len(labels)}, {c}), got {got}")
    if not (labels.min() >= 0 and (labels.sum(dim=1) - 1).abs().max() < 1e-4):
        raise DataError("expected soft labels of at least 0 that sum to 1 in each row")
