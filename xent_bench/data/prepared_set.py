"""A data set of image files, prepared as it was chosen: read when needed, or at once to memory."""

from typing import Any

from torch import Tensor

from xent_bench.data.augment import Augmentation
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.data.originals import in_memory


def prepared_set(
    files: ImageFiles, labels: Tensor, classes: tuple[str, ...], **others: Any
) -> ImageSet:
    """The set of these files; `others` are further fields of ImageSet, such as `test`.

    Files that are not resized are decoded now. DataError unless all have one size.
    """
    chosen = files.preparation
    is_resized = chosen.size is not None
    return ImageSet(
        files if is_resized else in_memory(files),
        labels,
        classes,
        augmentation=Augmentation(chosen.flip, chosen.crop),
        mean=chosen.mean,
        std=chosen.std,
        files=None if is_resized else files,
        **others,
    )
