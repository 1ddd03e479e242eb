"""The boundary of a group-sequential test: how strict each look at paired differences must be.

A test that looks at its data several times and stops when it is significant is wrong more often
than its level says. Here the nominal level of a look is proportional to its number of pairs n, and
the factor is chosen so that all looks together are wrong in 5 of 100 cases. In the words of Lan and
DeMets, 1983, this spends the error rate over the looks; `Boundary.spent` says how much up to each.
Constant nominal levels (Pocock, 1977) save a little more at large effects and less at small ones.

For each look let p be the p value of the fixed-sample paired t test. The smallest p / weight over
the looks so far has a distribution that depends on neither mean nor spread if there is no
difference. Its distribution function turns that number into a p value that holds at every look and
whenever one stops, a sequential p value (Liu and Anderson, 2008, JASA 103:1621).
"""

import math
from functools import cache
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int64
from scipy.special import chdtri, stdtrit

from xent_bench.arrays import Values
from xent_bench.comparison.stats import LEVEL

DRAWS = 4000  # simulated courses for each look and each point of a table: an error below 1 %
SMALLEST = 1e-9  # first ratio of a table; below it the sum over the looks is a close upper bound
RATIOS = np.array([*np.geomspace(SMALLEST, 0.1, 25), 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0])
Courses: TypeAlias = Float[np.ndarray, "looks draws"]


class Boundary(NamedTuple):
    """A group-sequential paired t test with looks after these numbers of pairs, ascending.

    The weight of a look with n pairs is (n / looks[-1]) ** shape. With one look this is the usual
    t test, and with shape 0 all looks have one nominal level.
    """

    looks: tuple[int, ...]
    shape: float = 1.0

    def weight(self, n: int) -> float:
        """Nominal level of n pairs relative to that of the last look: above 0, at most 1."""
        return float(min(1.0, n / self.looks[-1]) ** self.shape)

    def p(self, smallest: float, sides: int = 2) -> float:
        """Probability that p / weight is at most `smallest` at any look if there is no difference.

        `smallest` is the smallest p / weight over the looks so far; the result is the sequential
        p value. `sides` is 2 for a two-sided test and 1 for a one-sided one.
        """
        if len(self.looks) == 1:
            return min(1.0, smallest)
        if smallest < SMALLEST:
            return smallest * sum(map(self.weight, self.looks))
        ratios, chances = _table(self, sides)
        return min(1.0, math.exp(float(np.interp(math.log(smallest), ratios, chances))))

    def nominal(self, n: int, level: float = LEVEL) -> float:
        """Level of the fixed-sample two-sided t test of n pairs for a test of `level` in all.

        With a confidence of 1 minus this level, Student's intervals cover the true difference at
        all looks at once in 1 - level of cases: repeated confidence intervals (Jennison and
        Turnbull, 1989).
        """
        if len(self.looks) == 1:
            return level
        ratios, chances = _table(self, 2)
        # inverts `p` where it is a straight line in logarithms, and its bound below the table
        if math.log(level) < chances[0]:
            return self.weight(n) * level / sum(map(self.weight, self.looks))
        return self.weight(n) * math.exp(float(np.interp(math.log(level), chances, ratios)))

    def spent(self, level: float = LEVEL) -> list[float]:
        """Probability of a significant difference up to each look if there is none."""
        last = self.nominal(self.looks[-1], level)
        counts = [self.looks[: place + 1] for place in range(len(self.looks))]
        # a boundary of the first looks has the same shape and another last look
        return [Boundary(first, self.shape).p(last * self.weight(first[-1])) for first in counts]


def confidence_of(boundary: Boundary | None, n: int) -> float:
    """Confidence of an interval over n runs that is to cover in 95 % of cases.

    Without a boundary that is 95 %. Where seeds are added until something is decided, the usual
    interval of a loss's mean covers in 92 to 94 % (simulated), since it is narrow when one stops.
    """
    return 1 - LEVEL if boundary is None else 1 - boundary.nominal(n)


@cache
def _table(boundary: Boundary, sides: int) -> tuple[Values, Values]:
    """Logarithms of ratios, and of the chances that p / weight is at most that at some look.

    The chance of a union of events E_k is the sum over k of P(E_k) times the mean of 1 / N given
    E_k, where N is the number of events that happen. P(E_k) is known, as p values are uniform.
    Given E_k, courses are drawn without rejection: a t value from the tail, and the direction of
    the residuals and the length of the vector from their own distributions. So small chances are
    as accurate as large ones (importance sampling as in Naiman and Priebe, 2001). The random
    numbers are always the same.
    """
    rng, looks = np.random.default_rng(0), boundary.looks
    weights = np.array([boundary.weight(n) for n in looks])
    levels = weights[:, None] * RATIOS  # critical p of every look (looks, ratios)
    critical = -stdtrit(np.array(looks)[:, None] - 1, levels / sides)
    chances = sum(
        levels[given] * _share(rng, looks, given, critical, levels[given], sides)
        for given in range(len(looks))
    )
    monotone = np.maximum.accumulate(np.minimum(chances, 1.0))
    monotone[-1] = 1.0  # every p is at most 1
    return np.log(RATIOS), np.log(monotone)


def _share(
    rng: np.random.Generator,
    looks: tuple[int, ...],
    given: int,
    critical: Float[np.ndarray, "looks ratios"],
    levels: Values,
    sides: int,
) -> Values:
    """Mean of 1 / N for each ratio, given that the look number `given` is significant."""
    sums, squares = _courses(rng, looks)  # (looks, draws)
    n, counts = looks[given], np.array(looks)[:, None]
    mean = sums[given] / n
    residual_sums = sums - counts * mean
    residual_squares = squares - 2 * mean * sums + counts * mean**2
    length = np.sqrt(chdtri(n, (rng.permutation(DRAWS) + 0.5) / DRAWS))
    tails = (np.arange(DRAWS) + 0.5) / DRAWS  # equally spaced, in an order that fits no other
    shares = []
    for place, level in enumerate(levels):
        t = -stdtrit(n - 1, level * tails / sides)
        # in the direction of the mean, and across it: t = sqrt(n - 1) along / across
        across = length / np.hypot(1.0, t / math.sqrt(n - 1))
        along = across * t / math.sqrt(n - 1)
        centre, scale = along / math.sqrt(n), across / np.sqrt(residual_squares[given])
        totals = counts * centre + scale * residual_sums
        total_squares = (
            counts * centre**2 + 2 * centre * scale * residual_sums + scale**2 * residual_squares
        )
        later = slice(given + 1, None)  # pairs after the given look know nothing of it
        totals[later] = totals[given] + sums[later] - sums[given]
        total_squares[later] = total_squares[given] + squares[later] - squares[given]
        significant = _t(totals, total_squares, counts) >= critical[:, [place]]
        if sides == 2:
            significant |= _t(-totals, total_squares, counts) >= critical[:, [place]]
        significant[given] = True  # by construction, whatever the rounding
        shares.append((1 / significant.sum(axis=0)).mean())
    return np.array(shares)


def _courses(rng: np.random.Generator, looks: tuple[int, ...]) -> tuple[Courses, Courses]:
    """Sums and sums of squares of standard normal numbers up to each look, (looks, DRAWS)."""
    blocks = np.diff(looks, prepend=0)[:, None]
    sums = np.sqrt(blocks) * rng.standard_normal((len(looks), DRAWS))
    spread = 2 * rng.standard_gamma(np.maximum(blocks - 1, 0) / 2, (len(looks), DRAWS))
    return sums.cumsum(axis=0), (sums**2 / blocks + spread).cumsum(axis=0)


def _t(sums: Courses, squares: Courses, counts: Int64[np.ndarray, "looks 1"]) -> Courses:
    """Student's t of a mean from sums and sums of squares."""
    means = sums / counts
    variances = np.maximum(squares - counts * means**2, 1e-300) / (counts - 1)
    t: Courses = means / np.sqrt(variances / counts)
    return t
