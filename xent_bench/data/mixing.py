"""The augmentations of normalised batches: cutout, mixup and CutMix."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from xent_bench.data.augment import Augmentation, cutmix, cutout, mixup, rectangle
from xent_bench.randomness import derived_seed, generator
from xent_bench.types import Places, Rows


class Mixing:
    """Cutout, mixup and CutMix for the batches of one epoch, with all random draws made before.

    With both mixup and CutMix each example gets one of the two, with probability 1/2.
    """

    def __init__(
        self,
        augmentation: Augmentation,
        n: int,
        places: Places,
        batch_size: int,
        *,
        shape: tuple[int, int, int],
        seed: int,
        epoch: int,
        device: torch.device,
    ) -> None:
        """Draw for each of `n` examples, and keep the draws at `places`, split into batches.

        Drawn on the CPU, so that a run on a GPU sees the same. `shape` is (channels, h, w).
        """
        self.augmentation, self.shape = augmentation, shape
        self.is_needed = any((augmentation.cutout, augmentation.mixup, augmentation.cutmix))
        if not self.is_needed:
            return

        def batches(drawn: Tensor) -> tuple[Tensor, ...]:
            return torch.split(drawn[places].to(device), batch_size)

        rng = generator(seed, "mixing", epoch)
        boxed = torch.rand(n, generator=rng) < 0.5
        if not (augmentation.mixup and augmentation.cutmix):
            boxed[:] = augmentation.cutmix > 0
        centre = torch.rand(n, 4, generator=rng)
        self.blank, self.centre = batches(centre[:, :2]), batches(centre[:, 2:])
        self.side = batches(torch.full((n, 2), float(augmentation.cutout)))
        self.share = batches(_shares(augmentation.mixup, n, seed, epoch) * ~boxed)
        area = _shares(augmentation.cutmix, n, seed, epoch) * boxed
        self.sides = batches(area.sqrt()[:, None] * torch.tensor(shape[1:]))

    def __call__(
        self, step: int, images: Rows, target: Tensor, weights: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Mix the batch with the number `step`, counted from 0 in `places`.

        Weights are mixed in the shares in which the targets are.
        """
        is_mixed = bool(self.augmentation.mixup or self.augmentation.cutmix)
        if weights is None or not is_mixed:
            mixed = self._mixed(step, images, target)
            return mixed if weights is None else (*mixed, weights)
        beside = torch.cat((target, weights[:, None].to(target.dtype)), dim=1)
        images, beside = self._mixed(step, images, beside)
        return images, beside[:, :-1], beside[:, -1]

    def _mixed(self, step: int, images: Rows, target: Tensor) -> tuple[Rows, Tensor]:
        if self.augmentation.cutout:
            images = cutout(images, rectangle(self.blank[step], self.side[step], self.shape))
        if self.augmentation.mixup:
            images, target = mixup(images, target, self.share[step])
        if self.augmentation.cutmix:
            box = rectangle(self.centre[step], self.sides[step], self.shape)
            images, target = cutmix(images, target, box)
        return images, target


def _shares(alpha: float, n: int, seed: int, epoch: int) -> Float[Tensor, " n"]:
    """Draws from Beta(alpha, alpha) in [0, 1]; all 0 if alpha is 0.

    NumPy draws them, since torch's Beta takes no generator.
    """
    if not alpha:
        return torch.zeros(n)
    rng = np.random.default_rng(derived_seed(seed, f"shares {alpha}", epoch))
    return torch.from_numpy(rng.beta(alpha, alpha, n)).float()
