"""The table of what sweeps until decided cost, beside fixed designs of equal power.

`scripts/expected-seeds` writes it into xent_bench/comparison/README.md, in about a minute.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtr, stdtr, stdtrit

from xent_bench.comparison.boundary import Boundary
from xent_bench.comparison.sequential import LOOKS
from xent_bench.comparison.stats import LEVEL
from xent_bench.tables import joined

PAGE = Path(__file__).resolve().parents[1] / "xent_bench/comparison/README.md"
EFFECTS = (0.75, 1.0, 1.5, 2.0)  # true difference over the standard deviation of the differences
MIXED = EFFECTS  # of four losses, one each
SWEEPS = {1: 40_000, 4: 20_000, 19: 5_000}  # losses beside the baseline, and how many sweeps
HIGHEST = 0.9999  # power that is asked of a fixed design at most: a higher one needs more seeds
MOST = 60  # seeds of a fixed design that is searched for

Numbers: TypeAlias = NDArray[np.float64]
Answers: TypeAlias = NDArray[np.bool_]


class Row(NamedTuple):
    """One row of the table; runs are those of all losses and of the baseline."""

    effects: tuple[float, ...]  # of each loss beside the baseline
    seeds: float  # mean of a loss
    power: float  # share of the losses that are found to be better
    fixed: int  # seeds of a fixed design of this power
    runs: float  # mean of a sweep

    @property
    def saved(self) -> float:
        """Share of the runs of the fixed design that are saved."""
        return 1 - self.runs / ((len(self.effects) + 1) * self.fixed)


def row(effects: tuple[float, ...], sweeps: int) -> Row:
    """Simulate sweeps until they are decided, and find the fixed design of equal power."""
    seeds, better = until_decided(differences(np.random.default_rng(0), sweeps, effects))
    # the baseline goes on as long as any loss is open
    runs = seeds.sum(axis=1) + seeds.max(axis=1)
    power = float(better.mean())
    fixed = fixed_seeds(np.random.default_rng(1), sweeps, effects, min(power, HIGHEST))
    return Row(effects, float(seeds.mean()), power, fixed, float(runs.mean()))


def all_rows() -> Iterator[Row]:
    """The rows of the table: so many losses of one effect, and four of different effects."""
    for losses, sweeps in SWEEPS.items():
        for effect in EFFECTS:
            yield row((effect,) * losses, sweeps)
    yield row(MIXED, SWEEPS[len(MIXED)])


def differences(
    rng: np.random.Generator, sweeps: int, effects: Sequence[float], seeds: int = LOOKS[-1]
) -> Numbers:
    """Paired differences to a shared baseline, (sweeps, losses, seeds), in their own SD."""
    errors = 0.5**0.5 * rng.standard_normal((sweeps, len(effects) + 1, seeds))
    deltas: Numbers = errors[:, 1:] - errors[:, :1] + np.array(effects)[:, None]
    return deltas


def until_decided(deltas: Numbers) -> tuple[Numbers, Answers]:
    """Seeds of each loss, and whether it is found to be better: `decide`, for many sweeps at once.

    A test compares both, sweep by sweep. Holm's steps are compared with the ratios of p and weight
    that have the corrected levels.
    """
    boundary, m = Boundary(LOOKS), deltas.shape[1]
    ratios = np.array([boundary.nominal(LOOKS[-1], LEVEL / (m - step)) for step in range(m)])
    smallest = np.full(deltas.shape[:2], np.inf)
    seeds, better = np.zeros(deltas.shape[:2]), np.zeros(deltas.shape[:2], bool)
    is_open = ~better
    for n in LOOKS:
        t = t_of(deltas[:, :, :n])
        seeds[is_open] = n
        ratio = 2 * stdtr(n - 1, -np.abs(t)) / boundary.weight(n)
        smallest = np.where(is_open, np.minimum(smallest, ratio), smallest)
        closed = rejected(smallest, ratios) & is_open
        better |= closed & (t > 0)
        is_open &= ~closed
    return seeds, better


def fixed_seeds(
    rng: np.random.Generator, sweeps: int, effects: Sequence[float], power: float
) -> int:
    """The smallest number of seeds with which paired t tests and Holm's method have this power."""
    least = next(
        n for n in range(2, MOST) if fmean(power_of_pair(one, n) for one in effects) >= power
    )
    if len(effects) == 1:
        return least
    deltas = differences(rng, sweeps, effects, MOST)
    levels = LEVEL / np.arange(len(effects), 0, -1)
    for n in range(least, MOST + 1):  # a corrected test has no more power than one that is not
        t = t_of(deltas[:, :, :n])
        better = rejected(2 * stdtr(n - 1, -np.abs(t)), levels) & (t > 0)
        if better.mean() >= power:
            return n
    raise ValueError(f"more than {MOST} seeds for differences of {effects} standard deviations")


def power_of_pair(effect: float, n: int) -> float:
    """Probability that a two-sided t test of n pairs finds the difference, with its sign."""
    critical = float(stdtrit(n - 1, 1 - LEVEL / 2))
    return 1 - float(nctdtr(n - 1, effect * n**0.5, critical))


def t_of(deltas: Numbers) -> Numbers:
    """Student's t of the mean over the last axis."""
    t: Numbers = deltas.mean(axis=2) / deltas.std(axis=2, ddof=1) * deltas.shape[2] ** 0.5
    return t


def rejected(ps: Numbers, levels: Numbers) -> Answers:
    """Whether Holm's method rejects each of (sweeps, tests), by the levels of its steps."""
    order = ps.argsort(axis=1)
    below = np.take_along_axis(ps, order, axis=1) < levels
    outcome = np.zeros_like(below)
    np.put_along_axis(outcome, order, np.logical_and.accumulate(below, axis=1), axis=1)
    return outcome


def seeds_table(rows: Sequence[Row]) -> str:
    """The table of costs in Markdown."""
    lines = [
        "| losses beside the baseline | true difference, SD | seeds of a loss, mean | found, % "
        "| seeds of a fixed design as good | runs saved, % |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for one in rows:
        share = "> 99.9" if one.power > 0.9995 else f"{100 * one.power:.1f}"
        lines.append(
            f"| {len(one.effects)} | {_listed(one.effects)} | {one.seeds:.1f} | {share} "
            f"| {one.fixed} | {100 * one.saved:.0f} |"
        )
    return "\n".join(lines)


def _listed(effects: Sequence[float]) -> str:
    """The distinct effects: '0.75' or '0.75, 1, 1.5 and 2'."""
    return joined([f"{effect:g}" for effect in sorted(set(effects))])


def looks_table() -> str:
    """The table of looks in Markdown: nominal level and error rate spent, for one loss."""
    boundary = Boundary(LOOKS)
    lines = ["| look | seeds | nominal level, % | spent up to it, % |", "|--:|--:|--:|--:|"]
    for look, (n, spent) in enumerate(zip(LOOKS, boundary.spent(), strict=True), 1):
        lines.append(f"| {look} | {n} | {100 * boundary.nominal(n):.2f} | {100 * spent:.2f} |")
    return "\n".join(lines)


def between(page: str, name: str, content: str) -> str:
    """Return the page with this content between the marks of that name; ValueError without them."""
    begin, end = marks(name)
    before, first, inside = page.partition(begin)
    _, last, after = inside.partition(end)
    if not (first and last):
        raise ValueError(f"{PAGE}: expected the lines {begin} and {end}")
    return f"{before}{begin}\n\n{content}\n\n{end}{after}"


def marks(name: str) -> tuple[str, str]:
    """The lines before and after a table of that name."""
    return f"<!-- {name}: written by scripts/expected-seeds -->", f"<!-- end of {name} -->"


def main() -> None:
    """Write both tables between their marks in the page."""
    rows = list(all_rows())
    page = PAGE.read_text(encoding="utf-8")
    page = between(page, "looks", looks_table())
    PAGE.write_text(between(page, "expected seeds", seeds_table(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
