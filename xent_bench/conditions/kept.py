"""The choice of the images that remain in a split of which some are left out, class by class."""

import torch
from jaxtyping import Int64
from torch import Tensor

from xent_bench.data.image_set import ImageSet
from xent_bench.randomness import generator
from xent_bench.types import Index


def kept_of_each_class(
    data: ImageSet, ids: Index, wanted: Int64[Tensor, " c"], seed: int, purpose: str
) -> Index:
    """Keep so many images of each class, as they were sorted.

    Every image of the data set has a random number, drawn by its id, and each class keeps the
    images with the smallest ones. So the choice is the same for every loss, and fewer images are
    always among more of them.
    """
    numbers = torch.rand(len(data.images), generator=generator(seed, purpose), dtype=torch.float64)
    labels = data.index[ids]
    # by class, and within a class by number
    order = numbers[ids].argsort(stable=True)
    order = order[labels[order].argsort(stable=True)]
    counts = labels.bincount(minlength=len(data.classes))
    first = (counts.cumsum(0) - counts)[labels[order]]
    place = torch.arange(len(ids)) - first
    return ids[order[place < wanted[labels[order]]].sort().values]
