"""Label noise: labels of train, and as a rule of val and calib, are changed at random.

Every image of the data set has draws of its own, by its id. They do not depend on the rate, on the
loss or on the splits: the labels that change at a rate of 0.2 are among those that change at 0.4,
and change to the same classes. New labels are drawn from the clean ones alone, so that none changes
twice.
"""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float64
from torch import Tensor

from xent_bench.conditions.instance_noise import instance_noise
from xent_bench.conditions.label_file import labels_of_file
from xent_bench.conditions.transition import Transition, transition
from xent_bench.config.schema import Noise, NoiseKind, NoisyOrClean
from xent_bench.data.image_set import ImageSet
from xent_bench.data.split import Splits
from xent_bench.failures import DataError
from xent_bench.randomness import generator
from xent_bench.types import Index


class Draws(NamedTuple):
    """Uniform numbers in [0, 1) of each image of the data set: float64 (n,)."""

    change: Float64[Tensor, " n"]  # a label changes where this is below its rate
    place: Float64[Tensor, " n"]  # says to which class
    quantile: Float64[Tensor, " n"]  # of the rate, where images have rates of their own


def with_noise(data: ImageSet, splits: Splits, noise: Noise, seed: int) -> ImageSet:
    """Change labels of train, and of val and calib unless these are to stay clean.

    The labels before are kept as `clean`. `seed` is the run's, used where the noise has none.
    ConfigError or DataError for a map, a file or labels that do not go with this noise.
    """
    if data.labels.is_floating_point():
        raise DataError(
            f"noise={noise.kind.name} changes classes, and these labels are distributions, which "
            "hold the doubt of people already (target=majority keeps them for val and test); "
            "expected noise=none, or a data set of classes"
        )
    chosen = seed if noise.seed is None else noise.seed
    noisy = _noisy_labels(data, noise, chosen)
    parts = [splits.train]
    if noise.val is NoisyOrClean.noisy:
        parts += [splits.val, splits.calib]
    affected = torch.cat(parts)
    labels = data.labels.clone()
    labels[affected] = noisy[affected]
    return replace(data, labels=labels, clean=data.labels)


def _noisy_labels(data: ImageSet, noise: Noise, seed: int) -> Index:
    """The labels of all images, as they would be if all of them were noisy."""
    if noise.kind is NoiseKind.file:
        ids, given = labels_of_file(Path(str(noise.labels)).expanduser(), noise.column, data)
        return data.labels.index_put((ids,), given)
    draws = _draws(len(data.images), seed)
    if noise.kind is NoiseKind.instance:
        of_image = instance_noise(data, noise.rate, seed, draws.quantile, draws.place)
        return torch.where(draws.change < of_image.rates, of_image.others, data.labels)
    return drawn(data.labels, transition(noise, data.classes), draws)


def _draws(n: int, seed: int) -> Draws:
    numbers = generator(seed, "label noise")
    return Draws(*torch.rand(3, n, generator=numbers, dtype=torch.float64))


def drawn(labels: Index, matrix: Transition, draws: Draws) -> Index:
    """Draw the new label of each image from the row of its class.

    It changes where `change` is below 1 - T_yy; then `place` says to which of the other classes,
    each in proportion to its probability.
    """
    noisy = labels.clone()
    changes = draws.change < 1 - matrix.diagonal()[labels]
    for number in labels[changes].bincount().nonzero()[:, 0].tolist():
        ids = (changes & (labels == number)).nonzero()[:, 0]
        others = matrix[number].clone()
        others[number] = 0
        cumulated = (others / others.sum()).cumsum(dim=0)
        last = int(others.nonzero()[-1])
        places = torch.searchsorted(cumulated, draws.place[ids], right=True)
        noisy[ids] = places.clamp(max=last)  # the sum of the shares may round to less than 1
    return noisy
