"""The training of a group: what its runs share is read, then they are trained."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from xent_bench.config.identity import run_folder
from xent_bench.config.parts import resolve, settled
from xent_bench.data.image_set import ImageSet
from xent_bench.data.resident import stored_bytes
from xent_bench.data.vectors import Vectors
from xent_bench.failures import raise_fault
from xent_bench.pretrained.images import as_weights_want
from xent_bench.process.signals import Notice
from xent_bench.together.building import SeedData, data_of_seeds
from xent_bench.together.members import Ended, Member, NotTogether
from xent_bench.together.memory import bytes_of_run, runs_at_once
from xent_bench.together.one_training import OneTraining
from xent_bench.training.build import build_net
from xent_bench.training.run import completed
from xent_bench.training.trainer import WORTH_THREADS, build_trainer
from xent_bench.training.try_out import forward_flops

# of a net on a CPU: with gradients and moments 2 MB. In a group of 40 an MLP of 265,000 took 1.15
# times as long as alone, one of 85,000 took 0.93 times as long.
MOST_WEIGHTS = 2**17
FEW = 2  # images, whose forward pass tells the memory that a batch needs
MOST_BYTES = 2**32  # of the images of all seeds, each of which has splits of its own


class GroupTraining:
    """Trains members that are not done, as one training or as several after each other."""

    def __init__(self, members: Mapping[int, Member], ended: Ended, notice: Notice) -> None:
        """`ended` is told how each member ended, by its number."""
        self.members, self.ended, self.notice = members, ended, notice
        self.alone: list[int] = []
        self.device, self.bytes_of_run = torch.device("cpu"), 1

    def train(self) -> list[int]:
        """Train the members; returns the numbers of those that are to be trained alone.

        NotTogether before anything is written where that is true of all.
        """
        try:
            plan = self._plan()
        except NotTogether:
            raise
        except Exception as error:  # each run has its own words for it, and its own way out
            raise_fault(error)
            return list(self.members)
        for seeds in _parts_of(plan):
            for members in self._at_once(seeds):
                self.notice.heed()
                self.alone += OneTraining(members, seeds, self._end, self.notice).train()
            for data in seeds.values():
                data.free()
        return self.alone

    def _at_once(self, seeds: Mapping[int, SeedData]) -> Iterator[dict[int, Member]]:
        """Members of these seeds, as many at a time as the memory of the device holds."""
        seed_of = {number: member.config.seed for number, member in self.members.items()}
        numbers = sorted((n for n in self.members if seed_of[n] in seeds), key=seed_of.__getitem__)
        images = len(seeds) * _bytes(next(iter(seeds.values())).data)
        room = runs_at_once(self.bytes_of_run, images, self.device)
        for first in range(0, len(numbers), room):
            yield {number: self.members[number] for number in numbers[first : first + room]}

    def _plan(self) -> dict[int, SeedData]:
        """Load the images, and look whether a step is so short that a group pays."""
        resolved = []
        for member in self.members.values():
            parts = resolve(member.config)
            resolved.append(as_weights_want(settled(member.config, parts), parts))
        config, parts = resolved[0]
        device = build_trainer(config).strategy.root_device
        seeds = data_of_seeds([config for config, _ in resolved], parts, device)
        if not isinstance(seeds[config.seed].data.images, Tensor | Vectors):
            raise NotTogether("images are decoded while a net is trained on them")
        few = next(iter(seeds[config.seed].loaders(parts.target).val))[0][:FEW].cpu()
        net = build_net(config, parts, seeds[config.seed].data).net
        if device.type == "cpu":
            weights = sum(weight.numel() for weight in net.parameters())
            flops = forward_flops(net, few) / len(few)
            _refuse_long_steps(3 * flops * config.batch_size, weights)
        else:
            self.device = device
            self.bytes_of_run = bytes_of_run(net, few, config.batch_size)
        return seeds

    def _end(self, number: int, error: BaseException | None) -> None:
        """Add what a run lacks that was trained without an error, and tell of its end."""
        if error is None:
            member = self.members[number]
            try:
                completed(member.config, run_folder(member.config), was_trained=True)
            except Exception as late:
                error = late
        self.ended(number, error)


def _refuse_long_steps(flops: float, weights: int) -> None:
    """Raise NotTogether for a step of so many operations, or a net with so many weights."""
    if flops > WORTH_THREADS:
        raise NotTogether("a step of this net is long beside what runs could share")
    if weights > MOST_WEIGHTS:
        raise NotTogether(
            "the weights of one such net stay in the processor's cache, those of several do not"
        )


def _parts_of(seeds: Mapping[int, SeedData]) -> Iterator[dict[int, SeedData]]:
    """Seeds that can be trained at a time: as many images in each split, and room for them."""
    alike: dict[tuple[int, int], dict[int, SeedData]] = {}
    for seed, data in seeds.items():
        alike.setdefault((len(data.splits.train), len(data.splits.val)), {})[seed] = data
    for same in alike.values():
        at_once = max(1, MOST_BYTES // max(1, _bytes(next(iter(same.values())).data)))
        numbers = list(same)
        for first in range(0, len(numbers), at_once):
            yield {number: same[number] for number in numbers[first : first + at_once]}


def _bytes(data: ImageSet) -> int:
    """Bytes of a data set's images in memory, with mirrored ones and borders to crop from."""
    images = data.images
    if isinstance(images, Vectors):
        return sum(part.nbytes for part in images.parts)
    assert isinstance(images, Tensor)
    return stored_bytes(len(images), data.shape, data.augmentation)
