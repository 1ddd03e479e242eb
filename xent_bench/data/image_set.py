"""What a data set is to the harness: all of its images and labels, in memory."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from xent_bench.data.augment import NO_AUGMENTATION, Augmentation
from xent_bench.failures import DataError
from xent_bench.types import Index


@dataclass(frozen=True)
class ImageSet:
    """Images (n, channels, h, w) in uint8 with their labels: an index or a distribution each.

    An image's position is its id. `test` holds the ids of the official test split; without one
    (None) a fifth is drawn, the same for every seed.
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    test: Tensor | None = None
    augmentation: Augmentation = NO_AUGMENTATION

    def __post_init__(self) -> None:
        """Refuse what training would swallow in silence: a label of -100, say."""
        for name in ("images", "labels"):
            if not isinstance(getattr(self, name), Tensor):
                got = type(getattr(self, name)).__name__
                raise DataError(f"expected {name} as a torch tensor, got {got}")
        _check_images(self.images, self.augmentation)
        if len(self.classes) < 2:
            raise DataError(f"expected at least two classes, got {len(self.classes)}")
        if self.labels.dtype == torch.bfloat16:  # NumPy has none, and three digits are too few
            raise DataError("expected soft labels in float32 or float64, got bfloat16")
        n = len(self.images)
        if self.test is not None:
            _check_ids(self.test, n)
        if len(self.labels) != n:
            raise DataError(f"expected a label for each of {n} images, got {len(self.labels)}")
        if self.labels.is_floating_point():
            _check_soft_labels(self.labels, len(self.classes))
        else:
            _check_labels(self.labels, len(self.classes))

    @property
    def index(self) -> Index:
        """The true class of each example; of soft labels, the likeliest one."""
        return self.labels.argmax(dim=1) if self.labels.is_floating_point() else self.labels

    def sha256(self) -> str:
        """A hash of every pixel and label."""
        content = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        for tensor in (self.images, self.labels):
            content.update(tensor.contiguous().numpy().tobytes())
        return content.hexdigest()


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
    if labels.shape[1:] != (c,):
        got = tuple(labels.shape)
        raise DataError(f"expected soft labels of shape ({len(labels)}, {c}), got {got}")
    if not (labels.min() >= 0 and (labels.sum(dim=1) - 1).abs().max() < 1e-4):
        raise DataError("expected soft labels of at least 0 that sum to 1 in each row")
