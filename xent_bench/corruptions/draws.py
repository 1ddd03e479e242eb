"""Random numbers of each image, by its id: they do not depend on which images come beside it."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from jaxtyping import Float64, Int64

from xent_bench.randomness import derived_seed

Ids: TypeAlias = Int64[np.ndarray, " n"]
Drawn: TypeAlias = Float64[np.ndarray, "n ..."]


class Draws:
    """A generator for each image, made from the name of the corruption and the image's id.

    Every call goes on where the last one ended. The severity has no part: a stronger corruption of
    an image has the same grains, only larger ones.
    """

    def __init__(self, name: str, ids: Ids) -> None:
        """Make the generators of the images with these ids."""
        seed = derived_seed(0, f"corruption {name}")
        self.generators = [
            np.random.Generator(np.random.Philox(key=np.array([seed, number], dtype=np.uint64)))
            for number in ids.astype(np.uint64)
        ]

    def normal(self, *shape: int) -> Drawn:
        """Standard normal numbers (n, *shape)."""
        return self._stacked(lambda rng: rng.standard_normal(shape))

    def uniform(self, low: float, high: float, *shape: int) -> Drawn:
        """Numbers in [low, high), (n, *shape)."""
        return self._stacked(lambda rng: rng.uniform(low, high, shape))

    def integers(self, low: int, high: int, *shape: int) -> Int64[np.ndarray, "n ..."]:
        """Whole numbers from low to high - 1, (n, *shape)."""
        return np.stack([rng.integers(low, high, shape) for rng in self.generators])

    def poisson(self, means: Drawn) -> Drawn:
        """Poisson counts with these means, (n, ...)."""
        counts = [rng.poisson(mean) for rng, mean in zip(self.generators, means, strict=True)]
        return np.stack(counts).astype(np.float64)

    def _stacked(self, draw: Callable[[np.random.Generator], np.ndarray]) -> Drawn:
        return np.stack([draw(rng) for rng in self.generators])
