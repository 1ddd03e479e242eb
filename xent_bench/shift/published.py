"""Corrupted images that were published, such as CIFAR-10-C: read a block at a time, as test is."""

from collections.abc import Sequence
from pathlib import Path

import torch

from xent_bench.corruptions.expected import Expected
from xent_bench.corruptions.published import published_set
from xent_bench.shift.images_of_test import Block, ImagesOfTest
from xent_bench.types import Images


class Published:
    """The published images under the corruptions that are asked for, in the order of test."""

    def __init__(self, tested: ImagesOfTest, folder: Path, conditions: Sequence[str]) -> None:
        """Find the images, one for each of test; their pixels are read later.

        DataError for a folder of another layout, a corruption or severity that is not there, and
        images of another number, shape or label than test's.
        """
        published, data = published_set(folder), tested.data
        is_of_files = not isinstance(data.images, torch.Tensor) or data.files is not None
        files = [data.name_of(image) for image in tested.ids.tolist()] if is_of_files else []
        expected = Expected(data.index[tested.ids], data.classes, data.shape, files)
        self.parts = {
            condition: published.part(name, int(severity), expected)
            for condition in conditions
            for name, _, severity in [condition.partition("/")]
        }

    def images(self, condition: str, block: Block) -> Images:
        """Read the block's images under a corruption at a severity, such as 'fog/3'."""
        places = torch.arange(block.places.start, block.places.stop)
        return self.parts[condition].images(places)
