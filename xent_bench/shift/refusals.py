"""Refusals before a training: shifts and foreign sets that the net could not be scored on."""

import os
from pathlib import Path

from torch import Tensor

from xent_bench.config.configure import ConfigError
from xent_bench.config.shift_asked import ShiftAsked, is_folder
from xent_bench.data.image_files import ImageFiles
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
        if is_folder(entry):
            _refuse_own_files(Path(entry).expanduser().resolve(), data)


def _refuse_own_files(folder: Path, data: ImageSet) -> None:
    """Refuse a foreign folder that holds files of the run's own data: they are not foreign."""
    files = data.files if isinstance(data.images, Tensor) else data.images
    if not isinstance(files, ImageFiles) or files.encoded is not None:
        return
    root, inside = os.fsencode(files.root.resolve()), os.fsencode(folder) + os.sep.encode()
    paths = (os.path.normpath(os.path.join(root, name)) for name in files.names.tolist())
    shared = sum(path.startswith(inside) for path in paths)
    if shared:
        raise ConfigError(
            "foreign",
            f"{shared:,} of the run's own {len(files):,} images lie in {folder}; expected images "
            "that are foreign to it",
        )


def refuse_vectors(asked: ShiftAsked) -> None:
    """Refuse whatever is asked of a net that was trained on vectors."""
    if asked.conditions:
        complaint = "corruptions are of pixels, and the run's data are vectors"
        raise ConfigError("shift.names", f"{complaint}; expected data of images")
    if asked.foreign:
        raise ConfigError("foreign", "the run's data are vectors; expected data of images")
