"""Batches of several seeds side by side: what their runs share is read once."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from xent_bench.data.batches import Batches, ShuffledBatches
from xent_bench.types import Pixels


class SeedBatch(NamedTuple):
    """A minibatch of one seed, as all of its runs see it."""

    images: Pixels
    targets: tuple[Tensor, ...]  # in each of the kinds that the losses take
    weights: tuple[Tensor, ...]  # of the images, (n,); empty where they have none


class SeedColumn(NamedTuple):
    """The minibatches of one seed, and the encoders of its labels."""

    batches: ShuffledBatches  # of (images, labels or target, *weights)
    encoders: tuple[Callable[[Tensor], Tensor], ...]  # empty: the batches hold the target

    def seen(self, batch: tuple[Tensor, ...]) -> SeedBatch:
        """The minibatch with its target in each kind."""
        images, labels, *weights = batch
        targets = tuple(encode(labels) for encode in self.encoders) or (labels,)
        return SeedBatch(images, targets, tuple(weights))


class SeedBatches:
    """Minibatches of all seeds in step: a loader that can begin within an epoch."""

    def __init__(self, columns: Sequence[SeedColumn]) -> None:
        """Take columns of one length."""
        self.columns = columns
        self.share = columns[0].batches.share

    def __len__(self) -> int:
        """Number of minibatches of an epoch."""
        return len(self.columns[0].batches)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass, for every seed."""
        for column in self.columns:
            column.batches.set_epoch(epoch)

    def after(self, taken: int) -> Iterator[tuple[SeedBatch, ...]]:
        """Yield a minibatch of each seed, after the first `taken` of the epoch."""
        passes = (column.batches.after(taken) for column in self.columns)
        for batches in zip(*passes, strict=True):
            yield tuple(map(SeedColumn.seen, self.columns, batches))


class EvaluationBatches:
    """Batches of val of all seeds in step."""

    def __init__(self, columns: Sequence[Batches]) -> None:
        """Take columns of one length."""
        self.columns = columns

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.columns[0])

    def __iter__(self) -> Iterator[tuple[tuple[Tensor, ...], ...]]:
        """Yield (images, labels, ids) of each seed."""
        return zip(*self.columns, strict=True)
