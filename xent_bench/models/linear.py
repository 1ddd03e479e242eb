"""One linear layer: softmax regression with cross-entropy, a linear SVM with a hinge loss."""

from torch import nn


def linear(shape: tuple[int, int, int], classes: int) -> nn.Module:
    """z = W x + b, x being all pixels of an image, or a vector of features."""
    channels, h, w = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * h * w, classes))
