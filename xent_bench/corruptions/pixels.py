"""Arrays of pixels between 0 and 1, and their grey values."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Float64

Values: TypeAlias = Float64[np.ndarray, "n channels h w"]  # in [0, 1]
Layers: TypeAlias = Float64[np.ndarray, "n h w"]  # one value for each pixel

LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, of red, green and blue


def grey(pixels: Values) -> Layers:
    """The brightness of each pixel: of colour images 0.299 R + 0.587 G + 0.114 B."""
    if pixels.shape[1] == 1:
        return pixels[:, 0]
    brightness: Layers = np.einsum("nchw,c->nhw", pixels, LUMA)
    return brightness


def coloured(colour: tuple[float, float, float], channels: int) -> Float64[np.ndarray, "c 1 1"]:
    """A colour for so many channels: three, or one, its brightness."""
    red_green_blue = np.array(colour)
    values = red_green_blue if channels == 3 else np.array([LUMA @ red_green_blue])
    channel_values: np.ndarray = values[:, None, None]
    return channel_values
