"""Weather and light: snow, frost, fog, spatter, brightness.

Each function takes pixels in [0, 1], (n, channels, h, w) in float64, and returns such; values
outside of [0, 1] are cut later.
"""

import numpy as np
from scipy.ndimage import gaussian_filter

from xent_bench.corruptions.blur import moved
from xent_bench.corruptions.draws import Draws
from xent_bench.corruptions.fractal import height_maps
from xent_bench.corruptions.pixels import Values, coloured, grey
from xent_bench.corruptions.water import drops
from xent_bench.corruptions.zoom import zoomed

ICE = (0.48, 0.58, 0.63)  # mean colour of the published textures of frost
ICE_DEVIATION = 0.14  # of their brightness
MUD = (63 / 255, 42 / 255, 20 / 255)
TURQUOISE = (175 / 255, 238 / 255, 238 / 255)  # pale, of water


def snow(
    pixels: Values,
    draws: Draws,
    mean: float,
    deviation: float,
    zoom: float,
    least: float,
    radius: int,
    blur: float,
    share: float,
) -> Values:
    """Whiten the image, and add flakes that fall, and these upside down.

    Flakes are normal numbers, zoomed, 0 below `least`, and blurred along an angle between -135 and
    -45 degrees.
    """
    flakes = mean + deviation * draws.normal(*pixels.shape[2:])
    flakes = zoomed(flakes[:, None], (zoom,))
    flakes = np.where(flakes < least, 0, np.clip(flakes, 0, 1))
    flakes = moved(np.floor(255 * flakes) / 255, draws.uniform(-135, -45), radius, blur)
    white = np.maximum(pixels, 1.5 * grey(pixels)[:, None] + 0.5)
    snowy: Values = share * pixels + (1 - share) * white + flakes + flakes[:, :, ::-1, ::-1]
    return snowy


def frost(pixels: Values, draws: Draws, of_image: float, of_frost: float) -> Values:
    """Mix the image with crystals of ice.

    The published code cuts these from six photographs. Here they are drawn: ridges of a random
    height map, with the mean colour and the deviation of those photographs.
    """
    height, width = pixels.shape[2:]
    maps = height_maps(draws, height, width, decay=1.6)
    ridges = 1 - np.abs(2 * maps - 1)
    ridges -= ridges.mean(axis=(1, 2), keepdims=True)
    ridges /= np.maximum(ridges.std(axis=(1, 2), keepdims=True), 1e-9)
    ice = coloured(ICE, pixels.shape[1]) + ICE_DEVIATION * ridges[:, None]
    frozen: Values = of_image * pixels + of_frost * np.clip(ice, 0, 1)
    return frozen


def fog(pixels: Values, draws: Draws, density: float, decay: float) -> Values:
    """Add a cloud, and scale so that the brightest value stays as bright as it was."""
    brightest = pixels.max(axis=(1, 2, 3), keepdims=True)
    height, width = pixels.shape[2:]
    clouds = height_maps(draws, height, width, decay)
    foggy: Values = (pixels + density * clouds[:, None]) * brightest / (brightest + density)
    return foggy


def spatter(
    pixels: Values,
    draws: Draws,
    mean: float,
    deviation: float,
    blur: float,
    least: float,
    strength: float,
    is_mud: int,
) -> Values:
    """Put drops of water, or mud, on the lens: where blurred normal numbers are large enough."""
    liquid = mean + deviation * draws.normal(*pixels.shape[2:])
    liquid = gaussian_filter(liquid, (0, blur, blur), mode="nearest")
    liquid[liquid < least] = 0
    channels = pixels.shape[1]
    if not is_mud:
        water = strength * drops(liquid)[:, None] * coloured(TURQUOISE, channels)
        wet: Values = pixels + water
        return wet
    mud = gaussian_filter((liquid > least).astype(float), (0, strength, strength), mode="nearest")
    mud[mud < 0.8] = 0
    muddy: Values = pixels * (1 - mud[:, None]) + mud[:, None] * coloured(MUD, channels)
    return muddy


def brightness(pixels: Values, draws: Draws, added: float) -> Values:
    """Add to the value of each pixel, its largest channel; hue and saturation stay."""
    del draws
    value = pixels.max(axis=1, keepdims=True)
    brighter = np.clip(value + added, 0, 1)
    factor = np.divide(brighter, value, out=np.zeros_like(value), where=value > 0)
    changed: Values = np.where(value > 0, pixels * factor, brighter)
    return changed
