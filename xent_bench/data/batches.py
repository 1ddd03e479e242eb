"""Batches cut from an image set that lies on the training device: no workers, no copies."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from xent_bench.data.augment import Augmentation, crop, flip
from xent_bench.randomness import generator
from xent_bench.types import Images, Index, Pixels


class Normalisation(NamedTuple):
    """Mean and standard deviation of each channel, in units of uint8."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, images: Images) -> "Normalisation":
        """Of these images: the train split's, nothing else's."""
        channels = images.transpose(0, 1).flatten(1).double()
        mean, std = channels.mean(dim=1), channels.std(dim=1).clamp_min(1.0)
        return cls(mean.float()[:, None, None], std.float()[:, None, None])

    def to(self, device: torch.device) -> "Normalisation":
        """A copy there."""
        return Normalisation(*(moment.to(device) for moment in self))

    def __call__(self, images: Images) -> Pixels:
        """(x - mean) / std."""
        return (images - self.mean) / self.std


class Batches:
    """Every example once, in order: (normalised images, *labels, ids)."""

    def __init__(
        self,
        images: Images,
        labels: tuple[Tensor, ...],
        ids: Index,
        normalise: Normalisation,
        batch_size: int,
    ) -> None:
        """Keep the tensors where they are."""
        self.images, self.labels, self.ids = images, labels, ids
        self.normalise, self.batch_size = normalise.to(images.device), batch_size

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """One batch after the other."""
        for start in range(0, len(self.images), self.batch_size):
            cut = slice(start, start + self.batch_size)
            yield self.normalise(self.images[cut]), *(of[cut] for of in self.labels), self.ids[cut]


class ShuffledBatches(Batches):
    """Full batches in an order, and with an augmentation, that (seed, epoch) determine.

    Lightning tells the epoch to a loader's `sampler`, also after a resume.
    """

    def __init__(
        self,
        images: Images,
        labels: tuple[Tensor, ...],
        ids: Index,
        normalise: Normalisation,
        batch_size: int,
        *,
        seed: int,
        augmentation: Augmentation,
    ) -> None:
        """Keep the tensors where they are."""
        super().__init__(images, labels, ids, normalise, batch_size)
        self.seed, self.augmentation = seed, augmentation
        self.epoch = 0
        self.sampler = self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Number of batches; what does not fill one is left for another epoch."""
        return len(self.images) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """One augmented batch after the other."""
        n, device = len(self.images), self.images.device
        padding = self.augmentation.crop
        order = torch.randperm(n, generator=generator(self.seed, "order", self.epoch)).to(device)
        draws = generator(self.seed, "augmentation", self.epoch)
        mirrored = (torch.rand(n, generator=draws) < 0.5).to(device)
        corner = torch.randint(2 * padding + 1, (n, 2), generator=draws).to(device)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            cut = slice(start, start + self.batch_size)
            images = self.normalise(self.images[order[cut]])
            if self.augmentation.flip:
                images = flip(images, mirrored[cut])
            if padding:
                images = crop(images, corner[cut], padding)
            yield images, *(of[order[cut]] for of in self.labels)
