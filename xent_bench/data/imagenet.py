"""ImageNet: 1.28 million photographs of 1000 classes.

Russakovsky et al., 2015, arXiv:1409.0575.
"""

import os
from collections import Counter
from typing import Literal

from xent_bench.data.class_folders import visible
from xent_bench.data.image_files import shown
from xent_bench.data.image_folder import read_folder
from xent_bench.data.image_set import ImageSet
from xent_bench.data.preparation import Preparation
from xent_bench.data.root_folder import root_folder
from xent_bench.failures import DataError
from xent_bench.ranges import Moments, NaturalNumber, PositiveInt


def imagenet(
    *,
    root: str,
    size: PositiveInt | None = None,
    shorter_side: NaturalNumber | None = None,
    interpolation: Literal["bilinear", "bicubic"] | None = None,
    channels: Literal[1, 3] = 3,
    mean: Moments | None = None,
    std: Moments | None = None,
    flip: bool = True,
) -> ImageSet:
    """ILSVRC 2012 in root/train/n01440764/*.JPEG and so on, and root/val likewise, the test split.

    The labels of the official test images were never published, so papers report results on
    root/val; our own val and calib are drawn from train. Classes are named by their WordNet ids.
    Pixels are as `image_folder` says. DataError if the layout is another.
    """
    preparation = Preparation.chosen(
        size=size,
        shorter_side=shorter_side,
        interpolation=interpolation,
        channels=channels,
        mean=mean,
        std=std,
        flip=flip,
    )
    val = root_folder(root) / "val"
    if not os.path.isdir(val) or not any(map(os.path.isdir, visible(val, Counter()))):
        raise DataError(
            f"expected {shown(val)}/n01440764/*.JPEG, a folder for each class, as "
            "torchvision.datasets.ImageNet(ROOT, split='val') unpacks the archive"
        )
    return read_folder(val.parent, {"train": "train", "test": "val"}, preparation)
