"""1,797 real handwritten digits of 8 x 8 pixels.  Alpaydin and Kaynak, 1998, UCI repository."""

import torch

from xent_bench.data.image_set import ImageSet


def digits() -> ImageSet:
    """The copy that scikit-learn ships: nothing to download."""
    from sklearn.datasets import load_digits  # seconds of import, only for who wants these

    bunch = load_digits()
    grey = torch.from_numpy(bunch.images)  # 0 to 16
    images = (grey * (255 / 16)).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(bunch.target).long()
    return ImageSet(images, labels, classes=tuple(str(digit) for digit in range(10)))
