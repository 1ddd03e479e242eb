"""The images that the runs of a group train on: read once, and split once for each seed."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property

import torch
from omegaconf import DictConfig
from torch import Tensor

from xent_bench.conditions.conditioned import conditioned
from xent_bench.config.parts import Parts
from xent_bench.config.shift_asked import ShiftAsked
from xent_bench.config.targets import Kind
from xent_bench.data.groups import Groups
from xent_bench.data.image_cache import kept
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits, split
from xent_bench.shift.refusals import refuse_unfit
from xent_bench.together.seed_batches import SeedColumn
from xent_bench.training.build import Loaders, build_loaders, load
from xent_bench.training.seen_labels import seen_labels


@dataclass
class SeedData:
    """The images of one seed: its splits and its batches, which the seed's runs share."""

    config: DictConfig  # of one of the runs
    parts: Parts
    data: ImageSet
    splits: Splits
    device: torch.device
    fit: list[ShiftAsked] = field(default_factory=list)  # what the images can be scored on

    def refuse_unfit(self, asked: ShiftAsked) -> None:
        """Refuse shifts and foreign sets that a net of these images could not be scored on.

        The same request is looked at once: to load a foreign set takes time.
        """
        if asked not in self.fit:
            refuse_unfit(asked, self.data, self.splits.test)
            self.fit.append(asked)

    @cached_property
    def _loaders(self) -> Loaders:
        return build_loaders(self.config, self.parts, self.data, self.splits, self.device)

    def free(self) -> None:
        """Free the memory of the batches, in which all images of the seed lie."""
        vars(self).pop("_loaders", None)

    def encoder(self, kind: Kind) -> Callable[[Tensor], Tensor]:
        """The encoder of labels as a loss takes them."""
        return seen_labels(self.config, kind, self.data, self.splits, self.device)

    def loaders(self, kind: Kind) -> Loaders:
        """The loaders of a run whose loss takes this kind of target."""
        batches = copy(self._loaders.train.batches)
        batches.encode = self.encoder(kind)
        return self._loaders._replace(train=Groups(batches))

    def column(self, kinds: Sequence[Kind]) -> SeedColumn:
        """The minibatches of the seed, for losses that take these kinds of target."""
        batches = copy(self._loaders.train.batches)
        if len(kinds) == 1:
            batches.encode = self.encoder(kinds[0])
            return SeedColumn(batches, ())
        batches.encode = _as_it_is  # nothing is mixed: that needs losses of one kind
        return SeedColumn(batches, tuple(self.encoder(kind) for kind in kinds))


def data_of_seeds(
    configs: Sequence[DictConfig], parts: Parts, device: torch.device
) -> dict[int, SeedData]:
    """Load the images once, and split them for each seed. Returns the data of each seed, by seed.

    ConfigError or DataError where the images, or what is asked of them, cannot be used.
    """
    first = configs[0]
    loaded = kept(load(parts), first.machine.cache, first.epochs)
    seeds: dict[int, SeedData] = {}
    for config in configs:
        if config.seed not in seeds:
            data, splits = conditioned(loaded, split(loaded, config.seed), config)
            seeds[config.seed] = SeedData(config, parts, data, splits, device)
    return seeds


def _as_it_is(labels: Tensor) -> Tensor:
    return labels
