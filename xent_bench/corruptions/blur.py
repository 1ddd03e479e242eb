"""Blurs: of a lens that is out of focus, of frosted glass, of motion and of zooming.

Each function takes pixels in [0, 1], (n, channels, h, w) in float64, and returns such.
"""

import numpy as np
import torch
from jaxtyping import Float64
from scipy.ndimage import gaussian_filter
from torch.nn import functional as F

from xent_bench.corruptions.draws import Draws
from xent_bench.corruptions.pixels import Values
from xent_bench.corruptions.zoom import zoomed

Kernel = Float64[np.ndarray, "k k"]


def gaussian_blur(pixels: Values, draws: Draws, deviation: float) -> Values:
    """Blur by a normal of this standard deviation in pixels, cut at four of them."""
    del draws
    blurred: Values = gaussian_filter(pixels, (0, 0, deviation, deviation), mode="nearest")
    return blurred


def defocus_blur(pixels: Values, draws: Draws, radius: float, smoothing: float) -> Values:
    """Blur by a disk of this radius, whose edge is smoothed."""
    del draws
    kernel = disk(radius, smoothing)
    reach = len(kernel) // 2
    n, channels, height, width = pixels.shape
    padded = np.pad(pixels, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
    images = torch.from_numpy(padded.reshape(n * channels, 1, *padded.shape[2:])).float()
    blurred = F.conv2d(images, torch.from_numpy(kernel).float()[None, None])
    pixels_of_images: Values = blurred.double().numpy().reshape(n, channels, height, width)
    return pixels_of_images


def disk(radius: float, smoothing: float) -> Kernel:
    """The kernel of a disk: equal weights within the radius, smoothed by a normal; sum 1.

    The normal has 3 x 3 weights, or 5 x 5 for a radius above 8.
    """
    reach = 1 if radius <= 8 else 2
    side = int(radius) + reach
    distance = np.arange(-side, side + 1)
    kernel = (distance[:, None] ** 2 + distance[None] ** 2 <= radius**2).astype(np.float64)
    kernel /= kernel.sum()
    normal = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * smoothing**2))
    normal /= normal.sum()
    for axis in (0, 1):
        kernel = np.apply_along_axis(np.convolve, axis, kernel, normal, mode="same")
    return kernel


def glass_blur(
    pixels: Values, draws: Draws, deviation: float, farthest: int, passes: int
) -> Values:
    """Blur, exchange every pixel with one nearby, and blur again.

    Pixels are exchanged one after the other, from the last to the first. The published code copies
    the nearby one instead where images have colours, by an accident of its language.
    """
    _, _, height, width = pixels.shape
    blurred = gaussian_blur(pixels, draws, deviation)
    shuffled = np.ascontiguousarray(np.floor(255 * blurred).transpose(2, 3, 0, 1))
    rows = range(height - farthest, farthest, -1)
    columns = range(width - farthest, farthest, -1)
    images = np.arange(len(pixels))
    for _ in range(passes):
        steps = draws.integers(-farthest, farthest, max(len(rows), 0), max(len(columns), 0), 2)
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                across, down = steps[:, i, j, 0], steps[:, i, j, 1]
                there = (row + down, column + across, images)
                here = shuffled[row, column].copy()
                shuffled[row, column] = shuffled[there]
                shuffled[there] = here
    return gaussian_blur(shuffled.transpose(2, 3, 0, 1) / 255, draws, deviation)


def motion_blur(pixels: Values, draws: Draws, radius: int, deviation: float) -> Values:
    """Blur along a line at an angle between -45 and 45 degrees."""
    return moved(pixels, draws.uniform(-45, 45), radius, deviation)


def moved(
    pixels: Values, degrees: Float64[np.ndarray, " n"], radius: int, deviation: float
) -> Values:
    """Blur each image along a line in one direction, as ImageMagick does.

    Pixel p becomes sum_i w_i x[p + d_i], for i from 0 to 2 radius, with w_i in proportion to
    exp(-i^2 / (2 deviation^2)) and d_i = ceil(i (sin, cos) - 1/2) rows and columns, at the angle.
    Beyond an edge its pixels go on.
    """
    _, _, height, width = pixels.shape
    length = 2 * radius + 1
    steps = np.arange(length)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    weights /= weights.sum()
    radians = np.deg2rad(degrees)[:, None]
    down = np.ceil(steps * np.sin(radians) - 0.5).astype(int)
    across = np.ceil(steps * np.cos(radians) - 0.5).astype(int)
    edges = ((0, 0), (0, 0), (length, length), (length, length))
    padded = np.pad(pixels, edges, mode="edge")
    blurred = np.zeros_like(pixels)
    for image, total, rows, columns in zip(padded, blurred, down, across, strict=True):
        for weight, row, column in zip(weights, rows, columns, strict=True):
            top, left = length + row, length + column
            total += weight * image[:, top : top + height, left : left + width]
    return blurred


def zoom_blur(pixels: Values, draws: Draws, number: int, step: float) -> Values:
    """The mean of the image and of `number` zooms into it: 1, 1 + step, 1 + 2 step, ..."""
    del draws
    zooms = tuple(1 + step * place for place in range(number))
    blurred: Values = (pixels + number * zoomed(pixels, zooms)) / (number + 1)
    return blurred
