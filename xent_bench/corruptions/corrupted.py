"""Images under a corruption, whole batches at a time; see README.md for the list."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from xent_bench.corruptions import blur, digital, noise, weather
from xent_bench.corruptions.constants import CONSTANTS, size_of
from xent_bench.corruptions.draws import Draws
from xent_bench.corruptions.pixels import Values
from xent_bench.failures import DataError
from xent_bench.types import Images, Index

SEVERITIES = (1, 2, 3, 4, 5)
FUNCTIONS: dict[str, Callable[..., Values]] = {
    function.__name__: function
    for function in (
        *(noise.gaussian_noise, noise.shot_noise, noise.impulse_noise),
        *(blur.defocus_blur, blur.glass_blur, blur.motion_blur, blur.zoom_blur),
        *(weather.snow, weather.frost, weather.fog, weather.brightness),
        *(digital.contrast, digital.elastic_transform),
        *(digital.pixelate, digital.jpeg_compression),
        *(noise.speckle_noise, blur.gaussian_blur, weather.spatter, digital.saturate),
    )
}
NAMES, EXTRA = tuple(FUNCTIONS)[:15], tuple(FUNCTIONS)[15:]


def corrupted(images: Images, name: str, severity: int, ids: Index) -> Images:
    """Corrupt images, uint8 (n, channels, h, w), at a severity from 1 to 5.

    What is random is drawn from the name and the image's id, so an image is the same in any batch.
    ValueError for a name or a severity that there is none of; DataError for images of other than 1
    or 3 channels.
    """
    if name not in FUNCTIONS or severity not in SEVERITIES:
        raise ValueError(f"expected one of {', '.join(FUNCTIONS)} at 1 to 5, got {name}/{severity}")
    if images.shape[1] not in (1, 3):
        raise DataError(
            f"expected images of 1 or 3 channels to corrupt, got {images.shape[1]} channels"
        )
    if not len(images):
        return images.clone()
    constants: Any = CONSTANTS[name][size_of(*images.shape[2:])][severity - 1]
    values = constants if isinstance(constants, tuple) else (constants,)
    pixels = images.contiguous().numpy() / 255
    draws = Draws(name, ids.numpy())
    changed = FUNCTIONS[name](pixels, draws, *values)
    levels = np.rint(255 * np.clip(changed, 0, 1)).astype(np.uint8)
    return torch.from_numpy(np.ascontiguousarray(levels))
