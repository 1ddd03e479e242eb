"""The light and shade of drops of water on a lens, for the corruption `spatter`.

Almost every step is one call for all images: a call for each image of 28 x 28 pixels costs more
than the arithmetic.
"""

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import correlate, distance_transform_edt, label, uniform_filter

from xent_bench.corruptions.pixels import Layers

WEAK, STRONG = 50, 150  # limits of Canny's edges
FARTHEST = 20  # pixels from an edge, above which all are alike
RELIEF = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])  # light from the upper left
SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
IN_THE_PLANE = np.stack([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])  # 8 neighbours


def drops(liquid: Layers) -> Layers:
    """The strength of the water at each pixel, from 0 to 1 in each image.

    `liquid` is 0 where it is dry. The distance to the edges of the drops, made even by its
    histogram and seen as a relief, is multiplied by the liquid.
    """
    levels = np.floor(255 * np.clip(liquid, 0, 1))
    strengths = levels * _relief(levels)
    most = strengths.max(axis=(1, 2), keepdims=True)
    shares: Layers = np.divide(strengths, most, out=np.zeros_like(strengths), where=most > 0)
    return shares


def _relief(levels: Layers) -> Layers:
    edges = canny(levels)
    distance = np.full(levels.shape, float(FARTHEST))
    for image in np.flatnonzero(edges.any(axis=(1, 2))):  # SciPy's in three dimensions are slower
        np.minimum(distance[image], distance_transform_edt(~edges[image]), out=distance[image])
    # cut off, but for what is below a whole number by rounding
    even = _equalised(np.floor(_mean_of_3_by_3(distance) + 1e-9))
    relief = np.clip(_correlated(even, RELIEF, "mirror"), 0, 255)
    rounded: Layers = np.rint(_mean_of_3_by_3(relief))
    return rounded


def canny(levels: Layers) -> Bool[np.ndarray, "n h w"]:
    """Edges: pixels where the gradient is largest across the edge.  Canny, 1986.

    Gradients are Sobel's, their size |g_x| + |g_y|. An edge is above STRONG somewhere, and above
    WEAK all along.
    """
    across, down = (_correlated(levels, kernel, "nearest") for kernel in (SOBEL, SOBEL.T))
    size = np.abs(across) + np.abs(down)
    padded = np.pad(size, ((0, 0), (1, 1), (1, 1)))
    line = padded.shape[2]  # the distance from a pixel to the one below it, in a flat array
    places = np.nonzero(size > WEAK)  # few pixels: elsewhere there is no edge
    image, row, column = places
    here = (image * padded.shape[1] + row + 1) * line + column + 1
    across, down, size_here = across[places], down[places], size[places]
    tangent = np.abs(down) / np.maximum(np.abs(across), 1e-12)
    step = np.where(across * down >= 0, line + 1, line - 1)  # to the next pixel along the gradient
    step = np.where(tangent < np.tan(np.pi / 8), 1, step)
    step = np.where(tangent > np.tan(3 * np.pi / 8), line, step)
    sizes = padded.ravel()
    thin = np.zeros(size.shape, dtype=bool)
    thin[places] = (size_here > sizes[here - step]) & (size_here >= sizes[here + step])
    regions, number = label(thin, structure=IN_THE_PLANE)
    is_strong = np.zeros(number + 1, dtype=bool)
    is_strong[regions[thin & (size > STRONG)]] = True
    edges: np.ndarray = is_strong[regions]
    return edges


def _equalised(levels: Layers) -> Layers:
    """Map whole levels so that each is about as frequent: each image's range becomes 0 to 255."""
    whole = levels.astype(np.int64)
    image = np.arange(len(levels))
    bins = whole + 256 * image[:, None, None]
    counts = np.bincount(bins.ravel(), minlength=256 * len(levels)).reshape(-1, 256)
    first = counts[image, (counts > 0).argmax(axis=1)]
    total = levels[0].size - first  # 0 where all pixels are alike, and stay so
    table = np.rint((counts.cumsum(axis=1) - first[:, None]) * 255 / np.maximum(total, 1)[:, None])
    even: Layers = np.where(total[:, None, None] > 0, table.ravel()[bins], levels)
    return even


def _correlated(layers: Layers, kernel: np.ndarray, beyond: str) -> Layers:
    """Correlate each image with a kernel; `beyond` says how it goes on beyond an edge."""
    correlated: Layers = correlate(layers, kernel[None].astype(float), mode=beyond)
    return correlated


def _mean_of_3_by_3(layers: Layers) -> Layers:
    means: Layers = uniform_filter(layers, (1, 3, 3), mode="mirror")
    return means
