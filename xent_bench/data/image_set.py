"""What a data set is to the harness: all of its images and labels, in memory."""

import hashlib
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from xent_bench.data.augment import NO_AUGMENTATION, Augmentation
from xent_bench.failures import DataError
from xent_bench.types import Images, Index


@dataclass(frozen=True)
class ImageSet:
    """Images (n, channels, h, w) in uint8 with their labels: an index or a distribution each.

    An image's position is its id. `test` holds the ids of the official test split; without one
    (None) a fifth is drawn, the same for every seed.
    """

    images: Images
    labels: Int64[Tensor, " labels"] | Float[Tensor, "labels c"]
    classes: tuple[str, ...]
    test: Int64[Tensor, " m"] | None = None
    augmentation: Augmentation = NO_AUGMENTATION

    def __post_init__(self) -> None:
        """Refuse what a loss would swallow in silence: a label of -100, say."""
        n, c = len(self.images), len(self.classes)
        if len(self.labels) != n:
            raise DataError(f"expected a label for each of {n} images, got {len(self.labels)}")
        if self.labels.is_floating_point():
            if self.labels.shape != (n, c):
                got = tuple(self.labels.shape)
                raise DataError(f"expected soft labels of shape ({n}, {c}), got {got}")
        elif n and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < c:
            low, high = int(self.labels.min()), int(self.labels.max())
            raise DataError(f"expected labels from 0 to {c - 1}, got {low} to {high}")

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
