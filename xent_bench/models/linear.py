"""Softmax regression, or whatever the loss makes of one linear layer."""

from torch import nn


def linear(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """z = W x + b."""
    channels, h, w = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * h * w, classes))
