"""A multi-layer perceptron."""

from itertools import pairwise

from torch import nn

from xent_bench.ranges import PositiveInt


def mlp(
    shape: tuple[int, int, int],
    classes: int,
    *,
    width: PositiveInt = 256,
    depth: PositiveInt = 2,
) -> nn.Module:
    """`depth` hidden layers of `width` units with ReLU, then one linear layer."""
    channels, h, w = shape
    sizes = [channels * h * w, *[width] * depth]
    hidden = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, classes))
