"""Standard errors of metrics, and the calibration error that a calibrated model shows by chance."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int64
from scipy.special import gammaincc, ndtr

from xent_bench.arrays import Values
from xent_bench.metrics.calibration import ece, equal_width
from xent_bench.metrics.entropy_correlation import entropy_correlation_error
from xent_bench.metrics.examples import Examples
from xent_bench.metrics.random_draws import SEED, Request, draws
from xent_bench.metrics.ranked import EachRow, Ranked, is_alone, level
from xent_bench.metrics.score import balanced_error, means, ranked_metrics

Draws: TypeAlias = Float[np.ndarray, " draws"]
Verdict: TypeAlias = Literal["within noise", "over-confident", "under-confident", "mixed"]

RESAMPLES = 100  # gives a standard error with a relative error of 7 %
DRAWS = 1000
BLOCK = 2**22  # random numbers at a time
KEPT = 2**20  # places of the examples of all resamples, up to which they are kept
ROWS = 2**17  # values of resamples at a time: intermediate results stay in a processor's cache
RARE = 10  # draws beyond a value; with fewer, p is read from a fitted tail
NOTHING = 1e-6  # a gap below this counts as none: a saturated model's band has no width


class NullBand(NamedTuple):
    """Range of ECE and overconfidence that a calibrated model with these confidences shows.

    For the ECE, the mean and the central 95 %; for overconfidence (mean confidence minus accuracy),
    the central 97.5 %. With soft labels these are upper bounds, and ece_low is 0.
    """

    ece_mean: float
    ece_low: float
    ece_high: float
    overconfidence_low: float
    overconfidence_high: float


def standard_errors(examples: Examples) -> dict[str, float]:
    """Standard error of each metric over test examples, by the metric's name.

    s / sqrt(n) for a mean over examples; for the others the spread over resamples of the examples
    (Efron, 1979). `mce` has none, since resampling misjudges a maximum; nor has `ece_classwise`,
    which would need all probabilities of all examples again for every resample.
    """
    n = len(examples.target)
    if n < 2:
        return {}
    errors = {
        name: float(values.std(ddof=1) / n**0.5)
        for name, values in means(examples).items()
        if np.isfinite(values).all()  # an infinite nll has no standard error
    }
    balanced = balanced_error(examples)
    if balanced is not None:
        errors["balanced_top1"] = balanced
    if examples.probabilistic is not None and examples.soft is not None:
        entropies = examples.probabilistic.entropy, examples.soft.label_entropy
        correlation = entropy_correlation_error(*entropies)
        if correlation is not None:
            errors["entropy_correlation"] = correlation
    return errors | _bootstrap(examples)


def _bootstrap(examples: Examples) -> dict[str, float]:
    """Standard errors from resamples, drawn in the order of certainty to save sorting each."""
    ranked = examples.ranked
    certainty, outcome, n = ranked.certainty, ranked.outcome, ranked.n
    alone = is_alone(ranked)
    wanted = {name: metric for name, metric in ranked_metrics(examples).items() if name != "mce"}
    parts: dict[str, list[EachRow]] = {name: [] for name in wanted}
    for drawn in _resamples(n):
        resamples = level(certainty[drawn], outcome[drawn], soft=ranked.soft, alone=alone[drawn])
        values = {name: metric(resamples) for name, metric in wanted.items()}
        for name, of_row in values.items():
            # a metric that is undefined in some resamples has no standard error
            if of_row is None:
                wanted.pop(name)
            else:
                assert np.shape(of_row) == (len(drawn),), f"{name}: a number for each resample"
                parts[name].append(of_row)
    return {name: float(np.std(np.concatenate(parts[name]), ddof=1)) for name in wanted}


def _resamples(n: int) -> Iterable[Int64[np.ndarray, "r n"]]:
    """The places of the examples of RESAMPLES resamples of n, in rising order, some rows a time."""
    return _kept_resamples(n) if n * RESAMPLES <= KEPT else _drawn_resamples(n)


@lru_cache(maxsize=1)
def _kept_resamples(n: int) -> tuple[Int64[np.ndarray, "r n"], ...]:
    """Blocks of rows that are drawn once for all splits of n examples that a process measures."""
    blocks = tuple(_drawn_resamples(n))
    for block in blocks:
        block.flags.writeable = False
    return blocks


def _drawn_resamples(n: int) -> Iterator[Int64[np.ndarray, "r n"]]:
    rng = np.random.default_rng(SEED)
    rows = max(1, ROWS // n)
    for start in range(0, RESAMPLES, rows):
        counts = (
            np.bincount(rng.integers(n, size=n), minlength=n)
            for _ in range(start, min(start + rows, RESAMPLES))
        )
        yield np.stack([np.repeat(np.arange(n), of_row) for of_row in counts])


class NullDraws(NamedTuple):
    """ECE and overconfidence of a calibrated model in each of DRAWS draws of its right answers."""

    ece: Draws
    overconfidence: Draws
    is_bound: bool = False  # soft labels: a calibrated model shows at most this much

    def band(self) -> NullBand:
        """The central part of the draws."""
        ends = np.quantile(self.ece, (0.025, 0.975))
        sums = np.quantile(self.overconfidence, (0.0125, 0.9875))
        band = NullBand(float(self.ece.mean()), *map(float, (*ends, *sums)))
        return band._replace(ece_low=0.0) if self.is_bound else band

    def p(self, ranked: Ranked) -> float:
        """Probability that a calibrated model is as far off, in overconfidence or in ECE.

        It is twice the smaller of the two p-values (Bonferroni). Draws resolve 1 in 1000; beyond
        them the tail is that of a normal overconfidence and of a gamma ECE with the draws' moments.
        """
        by_sum = 2 * min(
            _tail(sign * float(ranked.gap.mean()), sign * self.overconfidence, _normal_tail)
            for sign in (1, -1)
        )
        return min(1.0, 2 * min(by_sum, _tail(float(ece(ranked)), self.ece, _gamma_tail)))


def _tail(value: float, draws: Draws, beyond: Callable[[float, float, float], float]) -> float:
    """Probability of at least this value; `beyond` is the tail of a fitted distribution."""
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


def null_draws(ranked: Ranked, bins: "Consistent | None" = None) -> NullDraws:
    """Draw the ECE and overconfidence that a calibrated model shows by chance alone.

    `bins` are those of `consistent`, where they were drawn before.

    A calibrated model's ECE is positive too: 0.2 to 0.5 % on 10,000 examples at a mean confidence
    of 0.95, more if confidences spread over many bins. With soft labels q, the mean of q at a
    confidence is that confidence; the spread of q around it is not known, but it is at most that of
    hard labels, q in {0, 1}. So these draws are an upper bound then, and a calibrated model may
    show an ECE as low as 0.
    """
    n = len(ranked.correct)
    bins = bins or consistent(ranked)
    gaps = (bins.confidence - bins.right) / n
    return NullDraws(np.abs(gaps).sum(axis=1), gaps.sum(axis=1), ranked.soft)


def null_band(ranked: Ranked) -> NullBand:
    """Range of ECE and overconfidence that a calibrated model shows by chance: see `null_draws`."""
    return null_draws(ranked).band()


class Consistent(NamedTuple):
    """Bins that are not empty, with their right answers in each of DRAWS draws."""

    bin: Int64[np.ndarray, " b"]  # which of the BINS bins
    n: Int64[np.ndarray, " b"]  # examples
    confidence: Float[np.ndarray, " b"]  # sum over the bin's examples
    right: Int64[np.ndarray, "draws b"]


def consistent(ranked: Ranked) -> Consistent:
    """Consistency resampling: draw every answer as right with a probability of its confidence.

    Broecker and Smith, 2007, doi:10.1175/WAF993.1, who resample the confidences too; here they are
    fixed.
    """
    confidence, n = ranked.certainty, ranked.n
    bounds = equal_width(confidence)
    bins = np.flatnonzero(np.diff(bounds))
    first = bounds[bins]
    rows = max(1, BLOCK // n)
    sizes = [min(rows, DRAWS - start) for start in range(0, DRAWS, rows)]
    uniform = draws(*(Request((size, n), "uniform in float32") for size in sizes))
    least = rounded_up(confidence)  # compared in float32, which halves the work
    parts = [
        np.add.reduceat(some_draws < least, first, axis=1, dtype=np.int64) for some_draws in uniform
    ]
    return Consistent(
        bins,
        np.diff(first, append=n),
        np.add.reduceat(confidence, first),
        np.concatenate(parts),
    )


def rounded_up(values: Values) -> Float[np.ndarray, " n"]:
    """The least numbers in float32 that are not below: a float32 is below both or neither."""
    nearest = values.astype(np.float32)
    return np.where(nearest < values, np.nextafter(nearest, np.float32(np.inf)), nearest)


def verdict(ranked: Ranked, band: NullBand) -> Verdict:
    """Whether confidence and accuracy differ by more than chance allows, and in which direction.

    `mixed` means that they agree on average but not bin by bin: too confident in some bins, too
    little in others. At most 5 in 100 calibrated models are not `within noise`: 2.5 by their
    overconfidence, 2.5 by their ECE; fewer with soft labels.
    """
    overconfidence = float(ranked.gap.mean())
    if overconfidence > band.overconfidence_high + NOTHING:
        return "over-confident"
    if overconfidence < band.overconfidence_low - NOTHING:
        return "under-confident"
    return "mixed" if ece(ranked) > band.ece_high + NOTHING else "within noise"
