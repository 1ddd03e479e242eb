"""Statistics over seeds; one observation is one trained run.

Uses the distributions of scipy.special, because importing scipy.stats and statsmodels takes longer
than a report, and statsmodels' Holm takes 50 ms for three p values. Tests check that the results
equal those of scipy.stats and statsmodels.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import cache
from statistics import fmean, stdev
from typing import NamedTuple, TypeAlias

import numpy as np
from scipy.special import chdtri, nctdtr, stdtr, stdtrit

LEVEL = 0.05  # significance level of a test, and of a family of tests
POWER = 0.8  # probability of seeing a difference that is there, for `seeds_needed`
MOST_SEEDS = 100_000  # largest answer of `seeds_needed`
EQUAL = 1e-12  # relative spread below which values differ only by rounding
SIMULATED = 2_000_000  # normal numbers drawn by `choice_widening`, for an error of 1 %

Rivals: TypeAlias = tuple[int, int]  # trials that could be chosen at the end, and all that began


class Estimate(NamedTuple):
    """Mean over n runs and half-width of its interval, None where there is no interval."""

    mean: float
    half_width: float | None
    n: int


def estimate(
    values: Sequence[float], confidence: float = 0.95, *, widening: float = 1.0
) -> Estimate:
    """Mean and Student's t interval: mean +- widening t_{n-1} s / sqrt(n).  Student, 1908.

    There is no interval for a single run, if a value is infinite, or if all values are equal, as if
    few images are all answered rightly: one of width 0 would be wrong. `widening` is 1 for runs of
    one trial; for a tuned loss see `choice_widening`.
    """
    n, mean = len(values), fmean(values)
    if n == 1 or not math.isfinite(mean):
        return Estimate(mean, None, n)
    spread = stdev(values)
    if spread <= EQUAL * max(map(abs, values)):
        return Estimate(mean, None, n)
    return Estimate(mean, _half_width(spread, n, confidence, widening), n)


def _half_width(spread: float, n: int, confidence: float, widening: float) -> float:
    """Half-width of the interval of the mean of n values with this standard deviation."""
    t = float(stdtrit(n - 1, (1 + confidence) / 2))
    return widening * t * spread / math.sqrt(n)


@cache
def choice_widening(seeds: int, trials: int) -> float:
    """Factor by which the standard error of a tuned loss exceeds s / sqrt(n).

    For each seed, the other seeds choose the trial whose run is reported. The mean then has no
    bias, but the choices for two seeds rest mostly on the same seeds, so their scores have a
    correlation rho >= 0, and the factor is sqrt((1 + (n - 1) rho) / (1 - rho)). It is largest if
    all trials are equally good and if errors on val and test are the same. That case is simulated
    here, always with the same random numbers; if one trial is clearly the best, intervals are
    wider than necessary. Range: 1 for one trial, 1.3 to 1.8 for 2 to 10 trials and 2 to 10 seeds.
    Error of the simulation: 1 %.
    """
    if trials < 2 or seeds < 2:
        return 1.0
    sweeps = max(2000, SIMULATED // (seeds * trials))
    scores = np.random.default_rng(0).standard_normal((sweeps, trials, seeds))
    chosen = (scores.sum(axis=2, keepdims=True) - scores).argmax(axis=1)
    reported = np.take_along_axis(scores, chosen[:, None, :], axis=1)[:, 0]
    # variance of the mean over variance of a single seed; the true score is 0
    ratio = float((reported.mean(axis=1) ** 2).mean() / (reported**2).mean())
    rho = max(0.0, (seeds * ratio - 1) / (seeds - 1))
    return math.sqrt((1 + (seeds - 1) * rho) / (1 - rho))


def widest(seeds: int, rivals: Rivals) -> float:
    """The larger `choice_widening` of two numbers of trials.

    In a search that was halved, the trials that were trained to the end had beaten the others with
    the same seeds. Simulated, the factor of neither number alone keeps the rate of errors.
    """
    return max(choice_widening(seeds, trials) for trials in rivals)


class Difference(NamedTuple):
    """Difference of a loss minus the baseline, paired by seed, in the metric's own unit.

    `p` tests that there is no difference (two-sided t test); `p_tie` tests that the difference is
    at least as large as the tie margin (TOST; Schuirmann, 1987). `effect_size` is Hedges' g of the
    paired differences, None for fewer than three pairs. `improvement` is the share of seeds with
    which the loss is better; a tie counts half. There is no interval and no p without a spread:
    for one pair, for an infinite value, or if all differences are equal, which happens when two
    losses differ on a few images of a small test set.
    """

    mean: float
    half_width: float | None  # of the 95 % interval
    n: int  # number of pairs
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
    """Compare two losses' runs pair by pair.

    `margin` is the largest difference of a tie, `better` the sign of an improvement, 1 or -1, and
    `widening` multiplies the standard error: see `choice_widening`.
    """
    pairs = list(zip(values, baseline, strict=True))
    wins = fmean((better * value > better * base) + 0.5 * (value == base) for value, base in pairs)
    deltas = [value - base for value, base in pairs]
    if not all(map(math.isfinite, deltas)):  # fmean refuses to add infinities of both signs
        return Difference(sum(deltas), None, len(pairs), None, None, None, None, wins)
    mean, n = fmean(deltas), len(deltas)
    spread = 0.0 if n == 1 else stdev(deltas)
    if spread <= EQUAL * max(map(abs, (*values, *baseline))):
        return Difference(mean, None, n, None, None, None, None, wins)
    error = widening * spread / math.sqrt(n)
    half_width = _half_width(spread, n, 0.95, widening)
    p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    p_tie = float(stdtr(n - 1, (abs(mean) - margin) / error))
    return Difference(mean, half_width, n, spread, p, p_tie, _hedges(mean / spread, n), wins)


def p_of_all_pairs(values: Sequence[Sequence[float]], widening: float = 1.0) -> list[float | None]:
    """Two-sided p of the paired t test of every two rows, in the order of itertools.combinations.

    `values` has a row for each loss and a column for each seed. The p are those of `difference`,
    computed for all pairs of rows at once; None where the differences have no spread.
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
    """Correct Cohen's d for its bias in small samples, with the exact factor.  Hedges, 1981."""
    df = n - 1
    if df < 2:
        return None
    return d * math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) * math.sqrt(2 / df)


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """Correct the p values of a family of tests by Holm's method.  Holm, 1979.

    The probability that any true null hypothesis gets a corrected p below LEVEL is at most LEVEL.
    None stands for a test that was not made: it stays None and does not count.
    """
    tested = sorted((p, place) for place, p in enumerate(ps) if p is not None)
    corrected: list[float | None] = [None] * len(ps)
    largest = 0.0
    for step, (p, place) in enumerate(tested):
        corrected[place] = largest = min(1.0, max(largest, (len(tested) - step) * p))
    return corrected


def seeds_needed(effect: float, spread: float, level: float = LEVEL) -> int | None:
    """Number of pairs with which a two-sided paired t test has the power POWER.

    `effect` is the true mean difference, `spread` the standard deviation of the differences, in
    the same unit, and `level` the significance level. A significant difference with the wrong
    sign, which is next to impossible at that power, does not count. None if MOST_SEEDS are not
    enough.
    """

    def power(n: int) -> float:
        critical, centre = stdtrit(n - 1, 1 - level / 2), effect / spread * math.sqrt(n)
        missed = float(nctdtr(n - 1, centre, critical))
        return 1.0 if math.isnan(missed) else 1 - missed  # SciPy's is NaN where it underflows

    n = 2 + bisect_left(range(2, MOST_SEEDS), POWER, key=power)
    return n if n < MOST_SEEDS else None


def largest_spread(spread: float, n: int) -> float:
    """Upper end of the one-sided 80 % interval of a standard deviation from n normal values."""
    return spread * math.sqrt((n - 1) / float(chdtri(n - 1, 0.8)))


def best_of(k: int, chosen_by: Sequence[float], reported: Sequence[float]) -> float:
    """Expected reported score of the best of k trials that are drawn at random.

    The best trial is the one with the smallest `chosen_by`; the result is the mean of its
    `reported` over all subsets of k of the n trials. The i-th best trial is the best in
    C(n - i, k - 1) of them.  Follows Dodge et al., 2019, arXiv:1909.03004, except that trials are
    drawn without replacement and that the score that chooses is not the score that is reported.
    """
    n = len(chosen_by)
    order = sorted(range(n), key=lambda i: chosen_by[i])
    ways = [math.comb(n - place, k - 1) for place in range(1, n + 1)]
    return sum(way * reported[i] for way, i in zip(ways, order, strict=True) if way) / sum(ways)
