"""Statistics over seeds: the unit is one trained run.

From the distributions of scipy.special, and in the tests equal to scipy.stats and statsmodels: the
import of these two takes longer than a report, and statsmodels' Holm 50 ms for three p values.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
from scipy.special import chdtri, nctdtr, stdtr, stdtrit

LEVEL = 0.05  # of a test, of a family of tests
POWER = 0.8
MOST_SEEDS = 100_000
EQUAL = 1e-12  # relative: differences nearer to one another than this differ by rounding
SIMULATED = 2_000_000  # normal numbers, from which the widening of a tuned loss is known to 1 %


class Estimate(NamedTuple):
    """A mean over runs with the half-width of its interval; None for a single run."""

    mean: float
    half_width: float | None
    n: int


def estimate(
    values: Sequence[float], confidence: float = 0.95, *, widening: float = 1.0
) -> Estimate:
    """Mean and Student's t interval: mean +- widening t_{n-1} s / sqrt(n).  Student, 1908.

    No interval where there is none: for one run, or where a value is infinite. `widening` is 1 for
    runs of one trial; see `choice_widening`.
    """
    n, mean = len(values), fmean(values)
    if n == 1 or not math.isfinite(mean):
        return Estimate(mean, None, n)
    t = float(stdtrit(n - 1, (1 + confidence) / 2))
    return Estimate(mean, widening * t * stdev(values) / math.sqrt(n), n)


@cache
def choice_widening(seeds: int, trials: int) -> float:
    """Factor by which the standard error of a tuned loss exceeds s / sqrt(n).

    For each seed the trial that is reported was chosen by the other seeds. That leaves the mean
    without bias, but two seeds then share what chose for them, and their scores are correlated by
    rho >= 0: the factor is sqrt((1 + (n - 1) rho) / (1 - rho)). It is largest where all trials are
    equally good and where val and test err together, and that case is simulated here, always with
    the same numbers; where one trial is clearly the best, intervals are wider than they need be.
    Range: 1 for one trial, 1.3 to 1.8 for 2 to 10 trials and 2 to 10 seeds. Error: 1 %.
    """
    if trials < 2 or seeds < 2:
        return 1.0
    sweeps = max(2000, SIMULATED // (seeds * trials))
    scores = np.random.default_rng(0).standard_normal((sweeps, trials, seeds))
    chosen = (scores.sum(axis=2, keepdims=True) - scores).argmax(axis=1)
    reported = np.take_along_axis(scores, chosen[:, None, :], axis=1)[:, 0]
    # of the mean and of single seeds, about the true score, which is 0
    ratio = float((reported.mean(axis=1) ** 2).mean() / (reported**2).mean())
    rho = max(0.0, (seeds * ratio - 1) / (seeds - 1))
    return math.sqrt((1 + (seeds - 1) * rho) / (1 - rho))


class Difference(NamedTuple):
    """A loss minus the baseline, paired by seed, in the metric's own unit.

    `p` that there is no difference, `p_tie` that it reaches the margin of a tie: of t tests,
    two-sided and TOST (Schuirmann, 1987). `effect_size` is Hedges' g of the paired differences,
    from three pairs on. `improvement` is the share of seeds with which the loss does better, a tie
    counting half. Without a spread to judge by (one pair; an infinite value; differences that are
    all equal, as a few images of a small test set make them) there is no interval and no p.
    """

    mean: float
    half_width: float | None
    n: int
    spread: float | None  # standard deviation of the differences
    p: float | None
    p_tie: float | None
    effect_size: float | None
    improvement: float


def difference(
    values: Sequence[float],
    baseline: Sequence[float],
    margin: float,
    better: int,
    *,
    widening: float = 1.0,
) -> Difference:
    """Compare two losses' runs pair by pair; `better` is the sign of an improvement, 1 or -1.

    `widening` multiplies the standard error of tuned losses: see `choice_widening`.
    """
    pairs = list(zip(values, baseline, strict=True))
    wins = fmean((better * value > better * base) + 0.5 * (value == base) for value, base in pairs)
    deltas = [value - base for value, base in pairs]
    if not all(map(math.isfinite, deltas)):  # fmean refuses to add infinities of both signs
        return Difference(sum(deltas), None, len(pairs), None, None, None, None, wins)
    mean, half_width, n = estimate(deltas, widening=widening)
    spread = 0.0 if half_width is None else stdev(deltas)
    if spread <= EQUAL * max(map(abs, (*values, *baseline))):
        return Difference(mean, None, n, None, None, None, None, wins)
    error = widening * spread / math.sqrt(n)
    p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    p_tie = float(stdtr(n - 1, (abs(mean) - margin) / error))
    return Difference(mean, half_width, n, spread, p, p_tie, _hedges(mean / spread, n), wins)


def p_of_all_pairs(values: Sequence[Sequence[float]], widening: float = 1.0) -> list[float | None]:
    """Two-sided p of the paired t test of each two rows, in the order of itertools.combinations.

    As `difference`, at once for all pairs: None where there is no spread to judge by.
    """
    rows = np.array(values, dtype=float)
    m, n = rows.shape
    one, other = np.triu_indices(m, 1)
    if n < 2:
        return [None] * len(one)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        deltas = rows[one] - rows[other]
        spread = deltas.std(axis=1, ddof=1)
        size = np.maximum(np.abs(rows[one]).max(axis=1), np.abs(rows[other]).max(axis=1))
        ps = 2 * stdtr(n - 1, -np.abs(deltas.mean(axis=1)) / (widening * spread / math.sqrt(n)))
    judged = np.isfinite(deltas).all(axis=1) & (spread > EQUAL * size)
    return [float(p) if is_judged else None for p, is_judged in zip(ps, judged, strict=True)]


def _hedges(d: float, n: int) -> float | None:
    """Cohen's d without its bias in small samples, by the exact factor.  Hedges, 1981."""
    df = n - 1
    if df < 2:
        return None
    return d * math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) * math.sqrt(2 / df)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Of a family of tests, p so that one below LEVEL errs at most that often.  Holm, 1979.

    What was not tested (None) is no member.
    """
    tested = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    largest = 0.0
    for step, (p, place) in enumerate(tested):
        corrected[place] = largest = min(1.0, max(largest, (len(tested) - step) * p))
    return corrected


def seeds_needed(effect: float, spread: float, level: float = LEVEL) -> int | None:
    """Pairs with which a two-sided t test at a level sees this mean difference in POWER of cases.

    And sees it with its sign, which it misses next to never where the power is so large. None if
    MOST_SEEDS do not suffice.
    """

    def power(n: int) -> float:
        critical, centre = stdtrit(n - 1, 1 - level / 2), effect / spread * math.sqrt(n)
        missed = float(nctdtr(n - 1, centre, critical))
        return 1.0 if math.isnan(missed) else 1 - missed  # SciPy's is NaN where it underflows

    n = 2 + bisect_left(range(2, MOST_SEEDS), POWER, key=power)
    return n if n < MOST_SEEDS else None


def largest_spread(spread: float, n: int) -> float:
    """Upper end of a one-sided 80 % interval of the standard deviation of n normal values."""
    return spread * math.sqrt((n - 1) / float(chdtri(n - 1, 0.8)))


def best_of(k: int, chosen_by: Sequence[float], reported: Sequence[float]) -> float:
    """Mean of what is reported when the best of k random trials is chosen, smallest first.

    Over all subsets of k of the n trials, of which C(n - i, k - 1) have the i-th best as their
    best.  As Dodge et al., 2019, arXiv:1909.03004, but without replacement and with the choice
    made by another number than is reported.
    """
    n = len(chosen_by)
    order = sorted(range(n), key=lambda i: chosen_by[i])
    ways = [math.comb(n - place, k - 1) for place in range(1, n + 1)]
    return sum(way * reported[i] for way, i in zip(ways, order, strict=True) if way) / sum(ways)
