"""Batches of a split for training and evaluation, on the training device."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from xent_bench.data.augment import Augmentation
from xent_bench.data.mixing import Mixing
from xent_bench.randomness import generator
from xent_bench.types import Images, Index, Pixels, Places, Rows


class Normalisation(NamedTuple):
    """Mean and standard deviation of each channel, in units of uint8 (0 to 255)."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, images: Images) -> "Normalisation":
        """The moments of `images`, which should be those of train alone; std is at least 1."""
        channels = images.transpose(0, 1).flatten(1).double()
        mean, std = channels.mean(dim=1), channels.std(dim=1).clamp_min(1.0)
        return cls(mean.float()[:, None, None], std.float()[:, None, None])

    def along(self, source: "Source") -> "Normalisation":
        """Repeat the moments for each pixel of a row, (w * channels,), on the source's device."""
        return type(self)(
            *(moment.flatten().repeat(source.shape[2]).to(source.device) for moment in self)
        )

    def __call__(self, images: Rows) -> Rows:
        """(x - mean) / std."""
        return images.float().sub_(self.mean).div_(self.std)


class AsTheyAre(Normalisation):
    """The normalisation of vectors that stay as they are: it would subtract 0 and divide by 1."""

    __slots__ = ()

    def __call__(self, images: Rows) -> Rows:
        """The values in float32."""
        return images.float()


@runtime_checkable  # for the tests, which enforce annotations
class Source(Protocol):
    """A reader of the images of a split, from memory or from files."""

    device: torch.device
    shape: tuple[int, int, int]  # channels, height, width

    def __len__(self) -> int:
        """Number of images."""

    def batches(self, order: Index, batch_size: int) -> Iterator[Rows]:
        """Read the images numbered `order`, without augmentation, to the device."""

    def varied(
        self, order: Index, places: Places, batch_size: int, rng: torch.Generator
    ) -> Iterator[Rows]:
        """Read the images numbered `order[places]`, mirrored and cropped at random.

        Every image of `order` gets a draw, wanted or not: processes that read different places
        then agree on what each image looks like.
        """


class Batches:
    """Each example once, in the source's order: (normalised images, *labels, ids)."""

    def __init__(
        self,
        source: Source,
        labels: tuple[Tensor, ...],
        ids: Index,
        normalise: Normalisation,
        batch_size: int,
        split_ids: Places | None = None,
    ) -> None:
        """`labels` and `ids` follow the source's order.

        `split_ids` are the ids of the whole split, of which another process may read a share.
        """
        self.source, self.batch_size = source, batch_size
        self.normalise = normalise.along(source)
        self.labels = tuple(column.to(source.device) for column in labels)
        self.ids = ids.to(source.device)
        self.split_ids = self.ids if split_ids is None else split_ids

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.source) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield one batch after the other; the last may be smaller."""
        images = self.source.batches(torch.arange(len(self.source)), self.batch_size)
        columns = [torch.split(column, self.batch_size) for column in (*self.labels, self.ids)]
        for rows, *labels in zip(images, *columns, strict=True):
            yield pixels(self.normalise(rows), self.source.shape), *labels


class Share(NamedTuple):
    """The share of each batch that one process reads, where several train a run together."""

    number: int = 0  # of this process, from 0
    of: int = 1  # processes


WHOLE = Share()


class ShuffledBatches:
    """Full batches (normalised images, target), or one process's share of each batch.

    (seed, epoch) alone determine the order and the augmentation. Where the examples have weights,
    a batch is (images, target, weights); a mixed example has its weight mixed as its target is.
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
        weights: Tensor | None = None,
    ) -> None:
        """`encode` turns labels into the target that the loss takes; `weights` have mean 1."""
        self.source, self.batch_size = source, batch_size
        self.normalise = normalise.along(source)
        self.labels, self.encode = labels.to(source.device), encode
        self.augmentation, self.seed, self.share = augmentation, seed, share
        self.weights = None if weights is None else weights.to(source.device)
        self.epoch = 0

    def __len__(self) -> int:
        """Number of full batches; the images that do not fill one wait for another epoch."""
        return len(self.source) // self.batch_size

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass: its order and its augmentation."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield all augmented batches of the epoch."""
        return self.after(0)

    def after(self, taken: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batches after the first `taken`: a resumed run has trained on those already."""
        n, device = len(self.source), self.source.device
        order = torch.randperm(n, generator=generator(self.seed, "order", self.epoch))
        draws = generator(self.seed, "augmentation", self.epoch)
        in_batch = self._columns()
        places = torch.arange(taken, len(self))[:, None] * self.batch_size + in_batch
        places, size = places.flatten(), len(in_batch)
        images = self.source.varied(order, places, size, draws)
        read = order[places].to(device)
        labels = torch.split(self.labels.index_select(0, read), size)
        weights = None
        if self.weights is not None:
            weights = torch.split(self.weights.index_select(0, read), size)
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
        share_size = self.batch_size // self.share.of
        for step, (raw, batch_labels) in enumerate(zip(images, labels, strict=True)):
            rows, target = self.normalise(raw), self.encode(batch_labels)
            columns = (target,) if weights is None else (target, weights[step])
            if mixing.is_needed:
                rows, *columns = mixing(step, rows, *columns)
            # the examples before the share were read only to be mixed into it
            shared = (column[-share_size:] for column in columns)
            yield pixels(rows[-share_size:], self.source.shape), *shared

    def _columns(self) -> Index:
        """The places in each batch that this process reads, from 0 to batch_size - 1.

        Mixup and CutMix mix an example with the one before it, which may be in another process's
        share: each of the two needs one more example, before the first of this share.
        """
        share_size = self.batch_size // self.share.of
        first = self.share.number * share_size
        mixed = bool(self.augmentation.mixup) + bool(self.augmentation.cutmix)
        before = mixed if self.share.of > 1 else 0
        return torch.arange(first - before, first + share_size) % self.batch_size


def pixels(rows: Rows, shape: tuple[int, int, int]) -> Pixels:
    """View rows as images (n, channels, h, w), as a net takes them; memory stays channels-last."""
    channels, h, w = shape
    return rows.view(-1, h, w, channels).permute(0, 3, 1, 2)
