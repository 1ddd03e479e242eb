"""Faults of processing: contrast, elastic deformation, pixelation, JPEG, saturation.

Each function takes pixels in [0, 1], (n, channels, h, w) in float64, and returns such; values
outside of [0, 1] are cut later.
"""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
from jaxtyping import Float64
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

from xent_bench.corruptions.draws import Draws
from xent_bench.corruptions.pixels import Values


def contrast(pixels: Values, draws: Draws, factor: float) -> Values:
    """m + factor (x - m), with the mean m of each channel of the image."""
    del draws
    means = pixels.mean(axis=(2, 3), keepdims=True)
    changed: Values = means + factor * (pixels - means)
    return changed


def saturate(pixels: Values, draws: Draws, factor: float, added: float) -> Values:
    """Multiply the saturation s = (max - min) / max of each pixel, and add to it; cut to [0, 1].

    Value and hue stay; grey pixels, which have no hue, count as red, as in HSV. Images of one
    channel stay as they are.
    """
    del draws
    if pixels.shape[1] == 1:
        return pixels
    value = pixels.max(axis=1, keepdims=True)
    spread = value - pixels.min(axis=1, keepdims=True)
    saturation = np.divide(spread, value, out=np.zeros_like(value), where=value > 0)
    wanted = np.clip(factor * saturation + added, 0, 1)
    red = np.broadcast_to(np.array([0.0, 1.0, 1.0])[:, None, None], pixels.shape)
    # by how much of the spread each channel is below the largest
    below = np.divide(value - pixels, spread, out=red.copy(), where=spread > 0)
    changed: Values = value * (1 - wanted * below)
    return changed


def pixelate(pixels: Values, draws: Draws, factor: float) -> Values:
    """Shrink the image by means over boxes, and enlarge it again."""
    del draws
    height, width = pixels.shape[2:]
    small = (max(1, int(width * factor)), max(1, int(height * factor)))

    def coarse(image: Image.Image) -> Image.Image:
        box = Image.Resampling.BOX
        return image.resize(small, box).resize((width, height), box)

    return _by_pillow(pixels, coarse)


def jpeg_compression(pixels: Values, draws: Draws, quality: int) -> Values:
    """Save the image as a JPEG file of this quality, and read it again."""
    del draws

    def through_file(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file)

    return _by_pillow(pixels, through_file)


def _by_pillow(pixels: Values, change: Callable[[Image.Image], Image.Image]) -> Values:
    """Let Pillow change each image, in grey levels from 0 to 255."""
    levels = np.rint(255 * pixels).astype(np.uint8).transpose(0, 2, 3, 1)
    is_grey = levels.shape[3] == 1
    changed = [
        np.asarray(change(Image.fromarray(image[:, :, 0] if is_grey else image)))
        for image in np.ascontiguousarray(levels)
    ]
    stacked = np.stack(changed).reshape(levels.shape).transpose(0, 3, 1, 2)
    return stacked / 255


def elastic_transform(
    pixels: Values, draws: Draws, strength: float, smoothness: float, farthest: float
) -> Values:
    """Stretch the image by a random affine map, then by displacements that vary smoothly.

    The three numbers are shares of the shorter side. The map moves three corners of a central
    square by up to `farthest`. Displacements are uniform in [-1, 1), blurred by `smoothness`, times
    `strength`. Pixels are interpolated linearly; beyond an edge the image is mirrored.
    """
    height, width = pixels.shape[2:]
    side = min(height, width)
    corners = draws.uniform(-farthest * side, farthest * side, 3, 2)
    fields = draws.uniform(-1, 1, 2, height, width)
    rows, columns = (grid.astype(float) for grid in np.mgrid[:height, :width])
    sources = _affine_sources(corners, rows, columns)
    stretched = _sampled(pixels, *sources, align_corners=True)
    if strength == 0:
        return stretched
    blur = smoothness * side
    smooth = gaussian_filter(fields, (0, 0, blur, blur), mode="reflect", truncate=3)
    across, down = strength * side * smooth[:, 0], strength * side * smooth[:, 1]
    return _sampled(stretched, rows + down, columns + across, align_corners=False)


def _affine_sources(
    moves: Float64[np.ndarray, "n 3 2"], rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The place that each pixel of the stretched images comes from: rows and columns (n, h, w).

    The affine map takes three corners of the central square to these plus their moves (across,
    down); it is inverted here.
    """
    height, width = rows.shape
    middle = np.array([height // 2, width // 2], dtype=float)  # as published: rows come first
    reach = min(height, width) // 3
    first = np.array([middle + reach, [middle[0] + reach, middle[1] - reach], middle - reach])
    ones = np.ones((3, 1))
    before = np.concatenate([first, ones], axis=1)  # (3, 3)
    after = np.concatenate([first + moves, np.broadcast_to(ones, (len(moves), 3, 1))], axis=2)
    back = np.linalg.solve(after, np.broadcast_to(before, after.shape))  # (n, 3, 3): after @ back
    places = np.stack([columns, rows, np.ones_like(rows)], axis=-1)  # x, y, 1
    sources = np.einsum("hwk,nkj->njhw", places, back)
    return sources[:, 1], sources[:, 0]


def _sampled(
    pixels: Values, rows: np.ndarray, columns: np.ndarray, *, align_corners: bool
) -> Values:
    """Read images at places between pixels, linearly.

    Beyond an edge the image is mirrored: about the centres of its outermost pixels with
    `align_corners`, else about their outer borders.
    """
    height, width = pixels.shape[2:]
    along = ((columns, width), (rows, height))
    if align_corners:  # -1 and 1 are the centres of the outermost pixels
        x, y = (2 * place / max(side - 1, 1) - 1 for place, side in along)
    else:
        x, y = ((2 * place + 1) / side - 1 for place, side in along)
    grid: Tensor = torch.from_numpy(np.stack([x, y], axis=-1))
    sampled = F.grid_sample(
        torch.from_numpy(np.ascontiguousarray(pixels)),
        grid,
        mode="bilinear",
        padding_mode="reflection",
        align_corners=align_corners,
    )
    return sampled.numpy()
