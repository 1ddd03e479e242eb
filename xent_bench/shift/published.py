"""Corrupted images that were published, such as CIFAR-10-C: read a block at a time."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from xent_bench.config.configure import ConfigError
from xent_bench.corruptions.published import published_set
from xent_bench.corruptions.published_arrays import PublishedArrays
from xent_bench.corruptions.published_files import File, PublishedFiles
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.preparation import Preparation
from xent_bench.failures import DataError
from xent_bench.shift.foreign_images import brought_to
from xent_bench.shift.images_of_test import Block, ImagesOfTest
from xent_bench.types import Images


class Published:
    """Reads blocks of the published images, in the order of test.

    Their labels, or the names and classes of their files, must be those of test.
    """

    def __init__(self, tested: ImagesOfTest, folder: Path, conditions: Sequence[str]) -> None:
        """Find the files. DataError where a condition is missing, or of other images."""
        self.tested, self.set = tested, published_set(folder)
        named = [condition.partition("/") for condition in conditions]
        wanted = [(name, int(severity)) for name, _, severity in named]
        self.files: dict[tuple[str, int], ImageFiles] = {}
        if isinstance(self.set, PublishedArrays):
            _check_arrays(self.set, tested, wanted)
        else:
            clean = _clean_files(tested)
            self.files = {place: _files(self.set, *place, clean, tested) for place in wanted}

    def images(self, name: str, severity: int, block: Block) -> Images:
        """The published images of a block, of the size of test's images."""
        if isinstance(self.set, PublishedArrays):
            rows = np.array(self.set.images(name, severity)[block.places])
            return torch.from_numpy(rows).permute(0, 3, 1, 2).contiguous()
        files = self.files[name, severity]
        decoded = [
            torch.from_numpy(np.ascontiguousarray(files.reduced(number))).permute(2, 0, 1)[None]
            for number in range(block.places.start, block.places.stop)
        ]
        size = block.images.shape[2:]
        return torch.cat([brought_to(image, size) for image in decoded])


def _check_arrays(
    arrays: PublishedArrays, tested: ImagesOfTest, wanted: Sequence[tuple[str, int]]
) -> None:
    """Raise a DataError unless labels and shapes are those of test."""
    if tested.labels().is_floating_point():
        raise ConfigError("shift.root", "published images have classes, and these labels are soft")
    channels, height, width = tested.data.shape
    for name, severity in wanted:
        arrays.check(name, severity, tested.labels())
        shape = arrays.images(name, severity).shape[1:]
        if shape != (height, width, channels):
            got = " x ".join(map(str, shape))
            raise DataError(
                f"expected images of {height} x {width} x {channels} in {name} of shift.root, as "
                f"test's are, got {got}"
            )


def _clean_files(tested: ImagesOfTest) -> list[File]:
    """The class and the name of each file of test."""
    images = tested.data.images if tested.data.files is None else tested.data.files
    if not isinstance(images, ImageFiles):
        raise ConfigError(
            "shift.root", "has image files, and test's images are not in files; expected arrays"
        )
    labels = tested.data.index[tested.ids].tolist()
    return [
        File(tested.data.classes[label], Path(images.name_of(image)).name)
        for label, image in zip(labels, tested.ids.tolist(), strict=True)
    ]


def _files(
    published: PublishedFiles,
    name: str,
    severity: int,
    clean: Sequence[File],
    tested: ImagesOfTest,
) -> ImageFiles:
    names = published.names_of(name, severity, clean)
    preparation = Preparation(None, 0, channels=tested.data.shape[0])
    return ImageFiles.of(published.folder(name, severity), names, preparation)
