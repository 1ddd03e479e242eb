"""Refusals before a training: shifts and foreign sets that the net could not be scored on."""

from pathlib import Path

from xent_bench.config.configure import ConfigError
from xent_bench.config.shift_asked import ShiftAsked
from xent_bench.data.image_set import ImageSet
from xent_bench.data.vectors import Vectors
from xent_bench.shift.foreign_images import Wanted, foreign_images
from xent_bench.shift.images_of_test import ImagesOfTest
from xent_bench.shift.published import Published
from xent_bench.types import Index


def refuse_unfit(asked: ShiftAsked, data: ImageSet, test: Index) -> None:
    """Refuse vectors, published images that are not those of test, and unfit foreign sets.

    Foreign sets are loaded for it; their files are not decoded.
    """
    if isinstance(data.images, Vectors):
        refuse_vectors(asked)
    if asked.conditions and asked.root is not None:
        Published(ImagesOfTest(data, test), Path(asked.root).expanduser(), asked.conditions)
    for name, entry in asked.foreign.items():
        foreign_images(name, entry, Wanted(data.shape, 1), len(test))


def refuse_vectors(asked: ShiftAsked) -> None:
    """Refuse whatever is asked of a net that was trained on vectors."""
    if asked.conditions:
        complaint = "corruptions are of pixels, and the run's data are vectors"
        raise ConfigError("shift.names", f"{complaint}; expected data of images")
    if asked.foreign:
        raise ConfigError("foreign", "the run's data are vectors; expected data of images")
