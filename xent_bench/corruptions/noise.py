"""Noise: values of pixels that change independently of their neighbours.

Each function takes pixels in [0, 1], (n, channels, h, w) in float64, and returns such; values
outside of [0, 1] are cut later.
"""

import numpy as np

from xent_bench.corruptions.draws import Draws
from xent_bench.corruptions.pixels import Values


def gaussian_noise(pixels: Values, draws: Draws, deviation: float) -> Values:
    """x + deviation N(0, 1)."""
    return pixels + deviation * draws.normal(*pixels.shape[1:])


def shot_noise(pixels: Values, draws: Draws, photons: float) -> Values:
    """Poisson(photons x) / photons."""
    shares: Values = draws.poisson(photons * pixels) / photons
    return shares


def impulse_noise(pixels: Values, draws: Draws, share: float) -> Values:
    """Set this share of the values to 0 or to 1, each as likely."""
    uniform = draws.uniform(0, 1, 2, *pixels.shape[1:])
    changes, is_white = uniform[:, 0] < share, uniform[:, 1] < 0.5
    noisy: Values = np.where(changes, is_white.astype(np.float64), pixels)
    return noisy


def speckle_noise(pixels: Values, draws: Draws, deviation: float) -> Values:
    """x + deviation x N(0, 1)."""
    noisy: Values = pixels + deviation * pixels * draws.normal(*pixels.shape[1:])
    return noisy
