"""Corrupted images that were published, such as CIFAR-10-C: read a block at a time."""

from collections.abc import Sequence
from pathlib import Path

from xent_bench.shift.images_of_test import Block, ImagesOfTest
from xent_bench.types import Images


class Published:
    """Reads blocks of the published images, in the order of test."""

    def __init__(self, tested: ImagesOfTest, folder: Path, conditions: Sequence[str]) -> None:
        """Find the files."""
        raise NotImplementedError

    def images(self, name: str, severity: int, block: Block) -> Images:
        """The published images of a block."""
        raise NotImplementedError
