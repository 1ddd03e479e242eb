"""The light and shade of drops of water on a lens, for the corruption `spatter`."""

import numpy as np
from scipy.ndimage import (
    correlate,
    distance_transform_edt,
    label,
    uniform_filter,
)

from xent_bench.corruptions.pixels import Layers

WEAK, STRONG = 50, 150  # limits of Canny's edges
FARTHEST = 20  # pixels from an edge, above which all are alike
RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])  # light from the upper left
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])


def drops(liquid: Layers) -> Layers:
    """The strength of the water at each pixel, from 0 to 1 in each image.

    `liquid` is 0 where it is dry. The distance to the edges of the drops, made even by its
    histogram and seen as a relief, is multiplied by the liquid.
    """
    levels = np.floor(255 * np.clip(liquid, 0, 1))
    strengths = np.stack([layer * _relief(layer) for layer in levels])
    most = strengths.max(axis=(1, 2), keepdims=True)
    shares: Layers = np.divide(strengths, most, out=np.zeros_like(strengths), where=most > 0)
    return shares


def _relief(levels: np.ndarray) -> np.ndarray:
    edges = canny(levels)
    distance = distance_transform_edt(~edges) if edges.any() else np.full(levels.shape, FARTHEST)
    distance = np.minimum(distance, FARTHEST)
    # cut off, but for what is below a whole number by rounding
    even = _equalised(np.floor(uniform_filter(distance.astype(float), 3, mode="mirror") + 1e-9))
    relief = np.clip(correlate(even, RELIEF.astype(float), mode="mirror"), 0, 255)
    return np.asarray(np.rint(uniform_filter(relief, 3, mode="mirror")))


def canny(levels: np.ndarray) -> np.ndarray:
    """Edges: pixels where the gradient is largest across the edge.  Canny, 1986.

    Gradients are Sobel's, their size |g_x| + |g_y|. An edge is above STRONG somewhere, and above
    WEAK all along.
    """
    across = correlate(levels, SOBEL.astype(float), mode="nearest")
    down = correlate(levels, SOBEL.T.astype(float), mode="nearest")
    size = np.abs(across) + np.abs(down)
    padded = np.pad(size, 1)
    height, width = size.shape

    def neighbour(row: int, column: int) -> np.ndarray:
        return padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]

    tangent = np.abs(down) / np.maximum(np.abs(across), 1e-12)
    is_level, is_steep = tangent < np.tan(np.pi / 8), tangent > np.tan(3 * np.pi / 8)
    same_sign = across * down >= 0
    before = np.where(same_sign, neighbour(-1, -1), neighbour(-1, 1))
    after = np.where(same_sign, neighbour(1, 1), neighbour(1, -1))
    before = np.where(is_level, neighbour(0, -1), np.where(is_steep, neighbour(-1, 0), before))
    after = np.where(is_level, neighbour(0, 1), np.where(is_steep, neighbour(1, 0), after))
    thin = (size > WEAK) & (size > before) & (size >= after)
    regions, _ = label(thin, structure=np.ones((3, 3)))
    strong = np.unique(regions[thin & (size > STRONG)])
    return np.isin(regions, strong[strong > 0])


def _equalised(levels: np.ndarray) -> np.ndarray:
    """Map whole levels so that each is about as frequent: the range becomes 0 to 255."""
    counts = np.bincount(levels.astype(int).ravel(), minlength=256)
    first = counts[np.flatnonzero(counts)[0]]
    total = levels.size - first
    if total == 0:
        return levels
    return np.asarray(np.rint((counts.cumsum() - first) * 255 / total)[levels.astype(int)])
