"""Random numbers of a fixed seed, which are the same for every split of a size.

So they are drawn once for the runs that a process evaluates, unless they take too much memory.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

SEED = 0  # fixed, so that rescoring gives the same numbers
KEPT = 2**23  # numbers, up to which they are kept: 64 MB at most


class Request(NamedTuple):
    """An array that is asked for: its shape, and how its numbers are distributed."""

    shape: tuple[int, ...]
    kind: Literal["uniform", "uniform in float32", "normal"] = "uniform"


def draws(*requests: Request) -> Iterator[np.ndarray]:
    """The arrays that are asked for, in this order, from one generator; none may be written to."""
    if sum(math.prod(request.shape) for request in requests) <= KEPT:
        return iter(_kept(requests))
    return _drawn(requests)


@lru_cache(maxsize=2)  # for the null band, and for that of the recipe
def _kept(requests: tuple[Request, ...]) -> tuple[np.ndarray, ...]:
    arrays = tuple(_drawn(requests))
    for array in arrays:
        array.flags.writeable = False
    return arrays


def _drawn(requests: tuple[Request, ...]) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(SEED)
    for request in requests:
        if request.kind == "normal":
            yield rng.standard_normal(request.shape)
        else:
            dtype = np.float32 if request.kind == "uniform in float32" else np.float64
            yield rng.random(request.shape, dtype)
