"""A small convolutional net for small images, which trains in seconds on a laptop's CPU."""

from itertools import pairwise

from torch import nn

from xent_bench.ranges import PositiveInt


def cnn(shape: tuple[int, int, int], classes: int, *, width: PositiveInt = 16) -> nn.Module:
    """Three 3 x 3 convolutions of width, 2 width and 4 width channels, then one linear layer.

    Each has batch normalisation and ReLU. Max-pooling halves height and width after the first two;
    the linear layer sees the mean of the last over the image.
    """
    widths = [shape[0], width, 2 * width, 4 * width]
    blocks = [_block(i, o) for i, o in pairwise(widths)]
    pools = [nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(2, ceil_mode=True), nn.Identity()]
    stages = [layer for stage in zip(blocks, pools, strict=True) for layer in stage]
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], classes))
    return nn.Sequential(*stages, *head)


def _block(i: int, o: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(i, o, kernel_size=3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU()
    )
