"""How far a metric may be off for want of test examples, and what a perfect model would show."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int64
from scipy.special import gammaincc, ndtr

from xent_bench.metrics.calibration import ece, equal_width
from xent_bench.metrics.examples import Examples
from xent_bench.metrics.ranked import Ranked, is_alone, level
from xent_bench.metrics.score import balanced_error, means, of_all

Draws: TypeAlias = Float[np.ndarray, " draws"]
Verdict: TypeAlias = Literal["within noise", "over-confident", "under-confident", "mixed"]

RESAMPLES = 100  # a standard error is then itself known to 7 %
DRAWS = 1000
BLOCK = 2**22  # random numbers at a time
SEED = 0  # the same numbers again
RARE = 10  # draws beyond a value: with fewer its p is read from a fitted tail
NOTHING = 1e-6  # a gap below this is none: a saturated model's, whose band has no width


class NullBand(NamedTuple):
    """What a calibrated model with these confidences shows on so many examples.

    Of the ECE the mean and the central 95 %; of overconfidence, mean confidence minus accuracy, the
    central 97.5 %. Of soft labels these are bounds: at most so much, and ece_low is 0.
    """

    ece_mean: float
    ece_low: float
    ece_high: float
    overconfidence_low: float
    overconfidence_high: float


def standard_errors(examples: Examples) -> dict[str, float]:
    """By metric, over test examples.

    s / sqrt(n) of a mean over examples; else from resamples of the examples (Efron, 1979). None of
    `mce`, a maximum, where it means nothing; nor of `ece_classwise`, which would take every
    probability of every example again for each resample.
    """
    n = len(examples.target)
    if n < 2:
        return {}
    errors = {
        name: float(values.std(ddof=1) / n**0.5)
        for name, values in means(examples).items()
        if np.isfinite(values).all()  # of an infinite nll there is none
    }
    balanced = balanced_error(examples)
    if balanced is not None:
        errors["balanced_top1"] = balanced
    return errors | _bootstrap(examples)


def _bootstrap(examples: Examples) -> dict[str, float]:
    """Of resamples in the order of certainty, which need no sorting."""
    rng = np.random.default_rng(SEED)
    order = examples.certainty.argsort(kind="stable")
    certainty, correct = examples.certainty[order], examples.top1[order]  # `level` comes after
    soft, n = examples.soft is not None, len(order)
    alone = is_alone(level(certainty, correct))
    wanted = {name: metric for name, metric in of_all(examples).items() if name != "mce"}
    found: dict[str, list[float]] = {name: [] for name in wanted}
    for _ in range(RESAMPLES):
        drawn = np.repeat(np.arange(n), np.bincount(rng.integers(n, size=n), minlength=n))
        resample = level(certainty[drawn], correct[drawn], soft=soft, alone=alone[drawn])
        for name, metric in wanted.items():
            value = metric(resample)
            if value is not None:
                found[name].append(value)
    # of all resamples or of none: a metric undefined in some has no standard error
    return {k: float(np.std(v, ddof=1)) for k, v in found.items() if len(v) == RESAMPLES}


class NullDraws(NamedTuple):
    """DRAWS draws of what a calibrated model shows on so many examples."""

    ece: Draws
    overconfidence: Draws
    is_bound: bool = False  # of soft labels: at most so much

    def band(self) -> NullBand:
        """The part in the middle."""
        ends = np.quantile(self.ece, (0.025, 0.975))
        sums = np.quantile(self.overconfidence, (0.0125, 0.9875))
        band = NullBand(float(self.ece.mean()), *map(float, (*ends, *sums)))
        return band._replace(ece_low=0.0) if self.is_bound else band

    def p(self, ranked: Ranked) -> float:
        """Probability that a calibrated model is as far off, by its sum or by its ECE.

        Twice the smaller of the two p (Bonferroni). Beyond the draws, of which 1 in 1000 is the
        rarest, the tail is that of a normal sum and of a gamma ECE with the draws' moments.
        """
        by_sum = 2 * min(
            _tail(sign * float(ranked.gap.mean()), sign * self.overconfidence, _normal_tail)
            for sign in (1, -1)
        )
        return min(1.0, 2 * min(by_sum, _tail(ece(ranked), self.ece, _gamma_tail)))


def _tail(value: float, draws: Draws, beyond: Callable[[float, float, float], float]) -> float:
    """Probability of at least this value."""
    larger = int((draws >= value - NOTHING).sum())
    p = (1 + larger) / (1 + len(draws))
    spread = float(draws.std())
    if larger >= RARE or spread < NOTHING:
        return p if larger else p * (spread >= NOTHING)
    return min(p, beyond(value, float(draws.mean()), spread))


def _normal_tail(value: float, mean: float, spread: float) -> float:
    return float(ndtr((mean - value) / spread))


def _gamma_tail(value: float, mean: float, spread: float) -> float:
    return float(gammaincc((mean / spread) ** 2, value * mean / spread**2))


def null_draws(ranked: Ranked) -> NullDraws:
    """What chance alone makes of a calibrated model.

    Its ECE is positive too: of 10,000 examples at a mean confidence of 0.95, 0.2 to 0.5 %, more if
    confidences spread over many bins. Soft labels q: their mean at a confidence is that confidence,
    and their spread around it, which nobody knows, is at most that of labels that are drawn, q in
    {0, 1}. So what drawn labels show is an upper bound, and a calibrated model may as well show an
    ECE of 0.
    """
    n = len(ranked.correct)
    bins = consistent(ranked)
    gaps = (bins.confidence - bins.right) / n
    return NullDraws(np.abs(gaps).sum(axis=1), gaps.sum(axis=1), ranked.soft)


def null_band(ranked: Ranked) -> NullBand:
    """The part in the middle of what `null_draws` shows."""
    return null_draws(ranked).band()


class Consistent(NamedTuple):
    """Of each bin that is not empty: which, its examples, the sum of their confidences, and how
    many of them are right in each of DRAWS draws.
    """

    bin: Int64[np.ndarray, " b"]
    n: Int64[np.ndarray, " b"]
    confidence: Float[np.ndarray, " b"]
    right: Int64[np.ndarray, "draws b"]


def consistent(ranked: Ranked) -> Consistent:
    """Consistency resampling: each answer right with the probability that was given for it.

    Broecker and Smith, 2007, doi:10.1175/WAF993.1, with the confidences as they are.
    """
    rng = np.random.default_rng(SEED)
    confidence = ranked.certainty
    n = len(confidence)
    bounds = equal_width(confidence)
    bins = np.flatnonzero(np.diff(bounds))
    first = bounds[bins]
    parts = []
    rows = max(1, BLOCK // n)
    for start in range(0, DRAWS, rows):
        right = rng.random((min(rows, DRAWS - start), n), dtype=np.float32) < confidence
        parts.append(np.add.reduceat(right, first, axis=1, dtype=np.int64))
    return Consistent(
        bins,
        np.diff(first, append=n),
        np.add.reduceat(confidence, first),
        np.concatenate(parts),
    )


def verdict(ranked: Ranked, band: NullBand) -> Verdict:
    """Whether confidence and accuracy differ by more than chance allows, and in which direction.

    `mixed`: not in sum, but bin by bin, too confident here and too little there. Of calibrated
    models at most 5 in 100 are not `within noise`: 2.5 by their sum, 2.5 by their ECE; fewer where
    labels are soft.
    """
    overconfidence = float(ranked.gap.mean())
    if overconfidence > band.overconfidence_high + NOTHING:
        return "over-confident"
    if overconfidence < band.overconfidence_low - NOTHING:
        return "under-confident"
    return "mixed" if ece(ranked) > band.ece_high + NOTHING else "within noise"
