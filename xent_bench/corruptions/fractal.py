"""Random height maps that look like clouds: the diamond-square algorithm.

Fournier, Fussell and Carpenter, 1982, Communications of the ACM 25(6).
"""

import numpy as np

from xent_bench.corruptions.draws import Draws
from xent_bench.corruptions.pixels import Layers

FIRST = 100.0  # the first wobble


def height_maps(draws: Draws, height: int, width: int, decay: float) -> Layers:
    """A map (height, width) of numbers from 0 to 1 for each image.

    Between points one step apart the mean of their neighbours is set, plus a number between -w^2
    and w^2. Each halving of the step divides w by `decay`.
    """
    side = 1 << max(1, (max(height, width) - 1).bit_length())
    numbers = draws.uniform(-1, 1, side, side)
    maps = np.zeros_like(numbers)
    step, wobble = side, FIRST
    while step >= 2:
        half = step // 2
        amount = wobble**2
        corners = maps[:, ::step, ::step]
        above = corners + np.roll(corners, -1, axis=1)
        centres = maps[:, half::step, half::step]
        centres[:] = (above + np.roll(above, -1, axis=2)) / 4
        centres += amount * numbers[:, half::step, half::step]
        left_and_right = corners + np.roll(corners, -1, axis=2)
        up_and_down = centres + np.roll(centres, 1, axis=1)
        maps[:, ::step, half::step] = (left_and_right + up_and_down) / 4 + amount * numbers[
            :, ::step, half::step
        ]
        left_and_right = centres + np.roll(centres, 1, axis=2)
        up_and_down = corners + np.roll(corners, -1, axis=1)
        maps[:, half::step, ::step] = (left_and_right + up_and_down) / 4 + amount * numbers[
            :, half::step, ::step
        ]
        step, wobble = half, wobble / decay
    maps -= maps.min(axis=(1, 2), keepdims=True)
    maps /= maps.max(axis=(1, 2), keepdims=True)
    return maps[:, :height, :width]
