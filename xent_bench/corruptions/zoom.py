"""Zooms into the centre of an image, as products with matrices that interpolate linearly."""

import math
from functools import cache

import numpy as np
from jaxtyping import Float64

from xent_bench.corruptions.pixels import Values

Matrix = Float64[np.ndarray, "side side"]


def zoomed(pixels: Values, zooms: tuple[float, ...]) -> Values:
    """The mean over these zooms of the image, each cut to the size of the image."""
    height, width = pixels.shape[2:]
    total = np.zeros_like(pixels)
    for zoom in zooms:
        total += _matrix(height, zoom) @ pixels @ _matrix(width, zoom).T
    return total / len(zooms)


@cache
def _matrix(side: int, zoom: float) -> Matrix:
    """The matrix that zooms along one side.

    The central ceil(side / zoom) pixels become round(zoom times as many), whose first and last are
    the first and last of these; of them the central ones are kept.
    """
    source = math.ceil(side / zoom)
    first = (side - source) // 2
    target = max(round(source * zoom), 1)
    trimmed = (target - side) // 2
    places = np.arange(target) * ((source - 1) / max(target - 1, 1))
    left = np.minimum(places.astype(int), max(source - 2, 0))
    right = np.minimum(left + 1, source - 1)
    matrix = np.zeros((target, side))
    rows = np.arange(target)
    np.add.at(matrix, (rows, first + left), 1 - (places - left))
    np.add.at(matrix, (rows, first + right), places - left)
    return matrix[trimmed : trimmed + side]
