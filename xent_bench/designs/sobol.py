"""The points of a search: a scrambled Sobol sequence, the same in the shared keys of all losses.

Sobol, 1967, doi:10.1016/0041-5553(67)90144-9, as SciPy draws and scrambles it. The first n points
fill the space evenly for every n, and best for powers of two, so a search can be continued.
"""

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from xent_bench.config.configure import ConfigError
from xent_bench.designs.dimensions import Dimension, Point, Space

# The scrambling depends on the number of dimensions that are drawn, so it is always this one. It is
# also the largest number of keys over which a loss can be searched.
DIMENSIONS = 16
FEWEST_ROWS, MOST_ROWS = 9, 17  # of the sequence, as powers of two
EXAMPLE = "'optimizer.lr=tag(log,interval(1e-4,1e-1))'"


def sobol_points(space: Space, number: int, seed: int) -> list[Point]:
    """The first points of the search of a loss, all different; more points begin with the same.

    Column i of the sequence is dimension i, so the shared part of a point depends on nothing but
    the shared dimensions and the seed. Where values are few, shared parts repeat, in equal numbers:
    none comes again before all have come. ConfigError if the space has fewer points.
    """
    if space.size < number:
        raise ConfigError(
            "trials",
            f"expected {number} different points for every loss, and loss={space.loss} has "
            f"{space.size:.0f}; search more keys that all losses have, such as {EXAMPLE}",
        )
    for power in range(max(FEWEST_ROWS, (number - 1).bit_length()), MOST_ROWS + 1):
        if points := _first_points(space, number, rows(power, seed)):
            return points
    raise ConfigError(
        "trials",
        f"{number} different points of loss={space.loss} were not met; expected fewer trials",
    )


@lru_cache(4)
def rows(power: int, seed: int) -> list[list[float]]:
    """The first 2 ** power rows of the sequence: DIMENSIONS shares from 0 to below 1 in each."""
    import numpy as np
    from scipy.stats import qmc  # takes half a second to import

    sampler = qmc.Sobol(DIMENSIONS, scramble=True, rng=np.random.default_rng(seed))
    shares: list[list[float]] = sampler.random_base2(power).tolist()
    return shares


def _first_points(
    space: Space, number: int, shares: Sequence[Sequence[float]]
) -> list[Point] | None:
    """The first points in these rows; None if they do not hold that many."""
    columns_of_own = slice(len(space.shared), len(space.dimensions))
    shared = [_words(space.shared, row) for row in shares]
    own_parts: dict[Point, list[Point]] = {}
    for part, row in zip(shared, shares, strict=True):
        own_parts.setdefault(part, []).append(_words(space.of_loss, row[columns_of_own]))
    unused = {part: iter(dict.fromkeys(own_parts[part])) for part in own_parts}
    shared_size = math.prod(dimension.size for dimension in space.shared)
    points: list[Point] = []
    for part in _in_equal_numbers(shared, shared_size, number):
        own_part = next(unused[part], None)
        if own_part is None:
            return None
        points.append(part + own_part)
    return points if len(points) == number else None


def _in_equal_numbers(parts: Sequence[Point], size: float, number: int) -> list[Point]:
    """The first `number` of the parts, of which `size` are different, each as often as the others.

    Fewer than `number` where there are not enough.
    """
    turns: list[list[Point]] = []  # turn i has the place where each part comes for the i-th time
    counts: Counter[Point] = Counter()
    for part in parts:
        if counts[part] == len(turns):
            turns.append([])
        turns[counts[part]].append(part)
        counts[part] += 1
    chosen: list[Point] = []
    for turn in turns:
        wanted = int(min(number - len(chosen), size))
        chosen += turn[:wanted]
        if len(turn) < wanted:
            break
    return chosen


def _words(dimensions: Sequence[Dimension], row: Sequence[float]) -> Point:
    return tuple(
        f"{dimension.key}={dimension.at(share)}"
        for dimension, share in zip(dimensions, row, strict=False)
    )
