"""Batches of a split: what a step of training or of evaluation sees, on the training device."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from xent_bench.data.augment import Augmentation
from xent_bench.data.mixing import Mixing
from xent_bench.randomness import generator
from xent_bench.types import Images, Index, Pixels, Places, Rows


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

    def along(self, source: "Source") -> "Normalisation":
        """Of a whole row of pixels, on the source's device."""
        return Normalisation(
            *(of.flatten().repeat(source.shape[2]).to(source.device) for of in self)
        )

    def __call__(self, images: Rows) -> Rows:
        """(x - mean) / std."""
        return images.float().sub_(self.mean).div_(self.std)


@runtime_checkable  # for the tests, which enforce annotations
class Source(Protocol):
    """Where the images of a split come from: memory, or files."""

    device: torch.device
    shape: tuple[int, int, int]  # channels, height, width

    def __len__(self) -> int:
        """Number of images."""

    def batches(self, order: Index, batch_size: int) -> Iterator[Rows]:
        """Those at the places `order`, as they are, on the device."""

    def varied(
        self, order: Index, places: Places, batch_size: int, rng: torch.Generator
    ) -> Iterator[Rows]:
        """Of those in an `order` the ones at some places of it, mirrored and cropped as a random
        draw for each of the order says: the same whoever reads which.
        """


class Batches:
    """Every example once, in order: (normalised images, *labels, ids)."""

    def __init__(
        self,
        source: Source,
        labels: tuple[Tensor, ...],
        ids: Index,
        normalise: Normalisation,
        batch_size: int,
        split_ids: Places | None = None,
    ) -> None:
        """`labels` and `ids` follow the source's order; `split_ids`: all of a split."""
        self.source, self.batch_size = source, batch_size
        self.normalise = normalise.along(source)
        self.labels = tuple(of.to(source.device) for of in labels)
        self.ids = ids.to(source.device)
        self.split_ids = self.ids if split_ids is None else split_ids

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.source) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """One batch after the other."""
        images = self.source.batches(torch.arange(len(self.source)), self.batch_size)
        known = [torch.split(of, self.batch_size) for of in (*self.labels, self.ids)]
        for rows, *rest in zip(images, *known, strict=True):
            yield pixels(self.normalise(rows), self.source.shape), *rest


class Share(NamedTuple):
    """The share of each batch that one process reads, where several train a run together."""

    number: int = 0  # of this process, from 0
    of: int = 1  # processes


WHOLE = Share()


class ShuffledBatches:
    """Full batches (normalised images, target) in an order, and with an augmentation, that
    (seed, epoch) determine; or one process's share of each batch.
    """

    def __init__(
        self,
        source: Source,
        labels: Tensor,
        normalise: Normalisation,
        batch_size: int,
        *,
        encode: Callable[[Tensor], Tensor],
        augmentation: Augmentation,
        seed: int,
        share: Share = WHOLE,
    ) -> None:
        """`encode` makes of labels the target that a loss wants."""
        self.source, self.batch_size = source, batch_size
        self.normalise = normalise.along(source)
        self.labels, self.encode = labels.to(source.device), encode
        self.augmentation, self.seed, self.share = augmentation, seed, share
        self.epoch = 0

    def __len__(self) -> int:
        """Number of batches; what does not fill one is left for another epoch."""
        return len(self.source) // self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Pixels, Tensor]]:
        """One augmented batch after the other."""
        return self.after(0)

    def after(self, taken: int) -> Iterator[tuple[Pixels, Tensor]]:
        """Those that follow the first so many, which a run took before it was interrupted."""
        n, device = len(self.source), self.source.device
        order = torch.randperm(n, generator=generator(self.seed, "order", self.epoch))
        draws = generator(self.seed, "augmentation", self.epoch)
        columns = self._columns()
        places = torch.arange(taken, len(self))[:, None] * self.batch_size + columns
        places, size = places.flatten(), len(columns)
        images = self.source.varied(order, places, size, draws)
        labels = torch.split(self.labels.index_select(0, order[places].to(device)), size)
        mixing = Mixing(
            self.augmentation,
            n,
            places,
            size,
            shape=self.source.shape,
            seed=self.seed,
            epoch=self.epoch,
            device=device,
        )
        own = self.batch_size // self.share.of
        for step, (some, whose) in enumerate(zip(images, labels, strict=True)):
            rows, target = self.normalise(some), self.encode(whose)
            if mixing.is_needed:
                rows, target = mixing(step, rows, target)
            yield pixels(rows[-own:], self.source.shape), target[-own:]

    def _columns(self) -> Index:
        """The places in a batch that are read: one more than the share has for each time that an
        example is mixed with the one before it, which may be another process's.
        """
        own = self.batch_size // self.share.of
        first = self.share.number * own
        mixed = bool(self.augmentation.mixup) + bool(self.augmentation.cutmix)
        before = mixed if self.share.of > 1 else 0
        return torch.arange(first - before, first + own) % self.batch_size


def pixels(rows: Rows, shape: tuple[int, int, int]) -> Pixels:
    """As a net takes them, in channels-last layout."""
    channels, h, w = shape
    return rows.view(-1, h, w, channels).permute(0, 3, 1, 2)
