"""The data set as the harness sees it: images, in memory or in files, and their labels."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt64
from torch import Tensor

from xent_bench.data.attribute import Attribute, check_attribute
from xent_bench.data.augment import NO_AUGMENTATION, Augmentation
from xent_bench.data.batches import AsTheyAre, Normalisation, Source
from xent_bench.data.gathered import Gathered
from xent_bench.data.image_checks import (
    check_classes,
    check_disjoint,
    check_groups,
    check_ids,
    check_images,
    check_labels,
    check_moments,
    check_weights,
    checked_posterior,
    moments_for_channels,
)
from xent_bench.data.image_files import MEAN, STD, ImageFiles
from xent_bench.data.listing import Listing
from xent_bench.data.resident import Resident
from xent_bench.data.streamed import Streamed
from xent_bench.data.vectors import Vectors, content_bytes
from xent_bench.failures import DataError
from xent_bench.types import ClassCounts, Distribution, Index


@dataclass(frozen=True)
class ImageSet:
    """Images with their labels: for each image a class or a distribution over the classes.

    An image's id is its position. `test` holds the ids of the official test split; without one
    (None) a fifth is drawn, the same for every seed. `val` holds those of the official validation
    split, of which half become val and half calib; without one both are drawn. Images of one group
    (a number for each image, in `groups`) are never in two splits. `weights` multiply the losses of
    training, each divided by the mean of train; no metric uses them. `posterior` maps ids to
    p(y|x), rows in float64, if that is known: runs then report how far they are from it. `listing`
    says what a loader left out of its folder; it is shown and not hashed. Pixels are normalised by
    `mean` and `std`, or by `normalisation` where these are None. DataError for values of a wrong
    type, shape or range.
    """

    # uint8 (n, channels, h, w), files that are read when needed, or rows of features in their place
    images: Tensor | ImageFiles | Vectors
    labels: Tensor  # int64 (n,), or float (n, c) with rows that sum to 1
    classes: tuple[str, ...]  # names
    test: Tensor | None = None
    augmentation: Augmentation = NO_AUGMENTATION
    posterior: Callable[[Index], Distribution] | None = None
    listing: Listing | None = None
    mean: tuple[float, ...] | None = None  # of each channel, in units of 0 to 1
    std: tuple[float, ...] | None = None
    val: Tensor | None = None  # int64 (m,): ids
    groups: Tensor | None = None  # int64 (n,)
    weights: Tensor | None = None  # float (n,), at least 0
    files: ImageFiles | None = None  # those that the images in memory were read from, if any
    clean: Tensor | None = None  # the labels before noise was added, if it was
    attribute: Attribute | None = None  # by whose values scores on test are told apart

    def __post_init__(self) -> None:
        """Refuse values that training would accept without an error, such as a label of -100."""
        if isinstance(self.classes, list):  # one set of classes has one hash
            object.__setattr__(self, "classes", tuple(self.classes))
        check_classes(self.classes)
        n = check_images(self.images, self.augmentation)
        check_labels(self.labels, n, len(self.classes))
        if self.test is not None:
            check_ids("test", self.test, n)
        if self.val is not None:
            check_ids("val", self.val, n)
            check_disjoint(self.test, self.val)
        check_groups(self.groups, n)
        check_weights(self.weights, n)
        check_attribute(self.attribute, n)
        for name in ("mean", "std"):
            moment = moments_for_channels(getattr(self, name), self.shape[0])
            object.__setattr__(self, name, moment)
        check_moments(self.mean, self.std, self.shape[0])
        if self.posterior is not None and not callable(self.posterior):
            got = type(self.posterior).__name__
            raise DataError(f"expected posterior as a function of ids, got {got}")

    @property
    def index(self) -> Index:
        """The class of each example, for stratified splits; for soft labels the likeliest class.

        Of classes that are as likely it is the first. No metric uses it.
        """
        return self.labels.argmax(dim=1) if self.labels.is_floating_point() else self.labels

    @property
    def has_votes(self) -> bool:
        """Whether labels are soft: rows of shares."""
        return self.labels.is_floating_point()

    def is_unanimous(self, ids: Index) -> bool:
        """Whether the label of each of these images is one class, as a number or as a row."""
        if not self.has_votes:
            return True
        return bool((self.labels[ids].max(dim=1).values == 1).all())

    def tied(self, ids: Index) -> int:
        """The number of these images whose likeliest class is as likely as another."""
        if not self.has_votes:
            return 0
        first, second = self.labels[ids].topk(2, dim=1).values.unbind(dim=1)
        return int((first == second).sum())

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

    def check_files(self) -> None:
        """Refuse images in files that cannot be read, and rows with NaN, all in one DataError."""
        if not isinstance(self.images, Tensor):
            self.images.check()

    def name_of(self, image: int) -> str:
        """The name of an image by its id: its file's, relative to the root, or 'image 17'."""
        files = self.files if isinstance(self.images, Tensor) else self.images
        return f"image {image}" if files is None else files.name_of(image)

    def true_posterior(self, ids: Index) -> np.ndarray | None:
        """p(y|x) of these images, (n, c) in float64; None if the data set does not know it.

        DataError unless there is one distribution for each image, or if the function fails.
        """
        if self.posterior is None:
            return None
        return checked_posterior(self.posterior, ids, len(self.classes))

    def sha256(self) -> str:
        """A hash of all pixels and clean labels; for files, of names and bytes instead of pixels.

        Noise is no part of it: runs of several seeds, which draw it anew, are of one data set.
        It is computed once, for all runs of a group.
        """
        return self._sha256

    @cached_property
    def _sha256(self) -> str:
        content = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        if isinstance(self.images, Tensor):
            content.update(self.images.contiguous().numpy().tobytes())
        else:
            content.update(self.images.sha256().encode())
        labels = self.labels if self.clean is None else self.clean
        content.update(labels.contiguous().numpy().tobytes())
        if self.weights is not None:
            content.update(b"weights" + self.weights.double().contiguous().numpy().tobytes())
        if self.attribute is not None:
            content.update(
                repr(self.attribute.values).encode() + self.attribute.ids.numpy().tobytes()
            )
        return content.hexdigest()

    @cached_property
    def content_keys(self) -> UInt64[np.ndarray, " n"]:
        """64 bits of a hash of each image, computed once: those of equal content are equal.

        Two of a million images agree by chance once in 4e7 sets.
        """
        if isinstance(self.images, ImageFiles):
            return np.ascontiguousarray(self.images.hashes[:, :8]).view(np.uint64).ravel()
        images: Iterable[Any] = (
            content_bytes(self.images)
            if isinstance(self.images, Vectors)
            else self.images.flatten(1).numpy()
        )
        content = b"".join(hashlib.blake2b(image, digest_size=8).digest() for image in images)
        return np.frombuffer(content, np.uint64)

    def training_weights(self, ids: Index) -> Tensor | None:
        """Weights of these images, divided by their mean: float32 (m,); None if they are equal."""
        if self.weights is None:
            return None
        weights = self.weights[ids].double()
        if not weights.mean() > 0:
            raise DataError("expected a weight above 0 in train, got none")
        return (weights / weights.mean()).float()

    def normalisation(self, ids: Index) -> Normalisation:
        """The normalisation that was chosen, else by the moments of these images.

        Without a choice, images in files use ImageNet's moments, grey ones the mean of the three,
        and vectors stay as they are.
        """
        if isinstance(self.images, Vectors):
            return _of_vectors(self.images, ids)
        if self.mean is not None and self.std is not None:
            mean, std = (255 * torch.tensor(m)[:, None, None] for m in (self.mean, self.std))
            return Normalisation(mean, std)
        if isinstance(self.images, Tensor):
            return Normalisation.of(self.images[ids])
        mean, std = (torch.tensor(moment) for moment in (MEAN, STD))
        if self.shape[0] == 1:
            mean, std = mean.mean(dim=0, keepdim=True), std.mean(dim=0, keepdim=True)
        return Normalisation(mean[:, None, None], std[:, None, None])

    def source(
        self,
        ids: Index,
        device: torch.device,
        workers: int | None,
        *,
        varied: bool = False,
        timeout: float | None = None,
    ) -> Source:
        """A reader of these images; `varied` prepares it to mirror and crop them.

        `workers` is the number of processes that decode files; None: one for each core. One that
        decodes nothing for `timeout` seconds ends the run.
        """
        if isinstance(self.images, Vectors):
            return Gathered(self.images, ids, device, varied=varied)
        if isinstance(self.images, Tensor):
            augmentation = self.augmentation if varied else NO_AUGMENTATION
            return Resident(self.images[ids], device, augmentation)
        files = self.images.part(ids.numpy())
        return Streamed(files, device, workers, flip=self.augmentation.flip, timeout=timeout)


def _of_vectors(vectors: Vectors, ids: Index) -> Normalisation:
    width = vectors.shape[1]
    if vectors.normalise != "standard":
        return AsTheyAre(torch.zeros(width, 1, 1), torch.ones(width, 1, 1))
    mean, std = (moment[:, None, None] for moment in vectors.moments(ids))
    return Normalisation(mean, std)
