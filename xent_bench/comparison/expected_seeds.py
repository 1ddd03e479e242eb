"""The seeds that a question costs if they are added until it is decided."""

import math
from collections.abc import Sequence
from functools import cache
from itertools import chain, count, dropwhile
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

from xent_bench.comparison.boundary import Boundary
from xent_bench.comparison.sequential import looks_until
from xent_bench.comparison.stats import LEVEL, POWER, seeds_needed

PATHS = 20_000  # simulated sweeps, for an error of 0.3 % of the mean number of seeds
MOST = 1000  # seeds; a question that needs more in a fixed design gets no answer


class Stops(NamedTuple):
    """How often a sweep of one loss and the baseline stops at each look, and what it decides."""

    looks: tuple[int, ...]
    shares: tuple[float, ...]  # of sweeps that stop at each look; the last has the undecided too
    power: float  # probability that the difference is found, with its sign

    @property
    def mean(self) -> float:
        """Mean number of seeds."""
        return sum(n * share for n, share in zip(self.looks, self.shares, strict=True))


@cache
def stops(effect: float, looks: tuple[int, ...], level: float = LEVEL) -> Stops:
    """Simulate sweeps with a true difference of `effect` standard deviations of the differences.

    `level` is that of all looks together, for one loss. The random numbers are always the same.
    """
    boundary = Boundary(looks)
    rng = np.random.default_rng(0)
    sums, squares = np.zeros(PATHS), np.zeros(PATHS)
    is_open, power, shares, before = np.ones(PATHS, bool), 0.0, [], 0
    for n in looks:
        block = n - before
        total = math.sqrt(block) * rng.standard_normal(PATHS) + block * effect
        sums += total
        squares += total**2 / block + 2 * rng.standard_gamma((block - 1) / 2, PATHS)
        before = n
        t = sums / n / np.sqrt((squares - sums**2 / n) / (n - 1) / n)
        critical = -float(stdtrit(n - 1, boundary.nominal(n, level) / 2))
        stopped = is_open & (np.abs(t) >= critical)
        power += float((stopped & (t > 0)).mean())
        shares.append(float(stopped.mean()))
        is_open &= ~stopped
    shares[-1] += float(is_open.mean())
    return Stops(looks, tuple(shares), power)


def stops_with_power(effect: float, level: float = LEVEL) -> Stops | None:
    """The stops of a small design that finds the difference with probability POWER at least.

    Its largest number of seeds is the first of a few round numbers that is enough. None if a fixed
    design needs more than MOST seeds.
    """
    fixed = seeds_needed(effect, 1.0, level)
    if fixed is None or fixed > MOST:
        return None
    # few numbers, so that questions share the table of a boundary, which takes 0.2 s; a design with
    # looks needs about a tenth more seeds at most than one without
    numbers = chain(range(2, 20), (round(20 * 1.1**step) for step in count()))
    enough = dropwhile(lambda n: n < fixed, numbers)
    courses = (stops(effect, looks_until(n), level) for n in enough)
    return next(course for course in courses if course.power >= POWER)


def longest(courses: Sequence[Stops]) -> float:
    """Mean of the largest number of seeds of several losses: the runs of their baseline.

    As if losses stopped independently of each other, which makes it a little too large.
    """
    looks = sorted({n for course in courses for n in course.looks})
    shares_up_to = [
        math.prod(
            sum(share for at, share in zip(course.looks, course.shares, strict=True) if at <= n)
            for course in courses
        )
        for n in looks
    ]
    before = [0.0, *shares_up_to[:-1]]
    return sum(
        n * (now - earlier) for n, now, earlier in zip(looks, shares_up_to, before, strict=True)
    )
