"""Digits: 1,797 handwritten digits of 8 x 8 pixels.  Alpaydin and Kaynak, 1998, UCI repository."""

import torch

from xent_bench.data.image_set import ImageSet
from xent_bench.ranges import Moments


def digits(*, mean: Moments | None = None, std: Moments | None = None) -> ImageSet:
    """The copy that comes with scikit-learn, so nothing is downloaded. No official test split.

    Pixels are normalised by `mean` and `std`, in units of 0 to 1, else by train's own moments.
    """
    from sklearn.datasets import load_digits  # takes seconds to import, only needed here

    bunch = load_digits()
    grey = torch.from_numpy(bunch.images)  # values from 0 to 16
    images = (grey * (255 / 16)).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).long()
    classes = tuple(str(digit) for digit in range(10))
    return ImageSet(images, labels, classes, mean=mean, std=std)
