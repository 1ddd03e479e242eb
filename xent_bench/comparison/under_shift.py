"""Losses under shift and on foreign images: means over seeds, and differences paired by seed.

Only what all runs that are shown have is compared: the same corruptions at the same severities.
Nothing is judged here; the intervals are those of every other number.
"""

from collections.abc import Iterable, Sequence
from itertools import product
from statistics import fmean
from typing import NamedTuple

import numpy as np

from xent_bench.arrays import Values
from xent_bench.comparison.boundary import confidence_of
from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.row import Row, most_rivals
from xent_bench.comparison.stats import Estimate, estimate, widest
from xent_bench.metrics.shifts import (
    AS_TRAINED,
    CERTAINTIES,
    FIFTEEN,
    FOREIGN,
    FOUR,
    MEAN,
    SCALED,
    SEVERITIES,
    SHIFT,
    SHIFT_TS,
    condition,
)
from xent_bench.runs.result import Run

CLEAN = {SHIFT: "test", SHIFT_TS: "test_ts"}  # prefixes of the same scores without a shift
TOP1 = f"{SHIFT}/top1"
KEYS = (*(f"{SHIFT}/{score}" for score in AS_TRAINED), *(f"{SHIFT_TS}/{score}" for score in SCALED))


class ShiftedRow(NamedTuple):
    """A loss under shift, over its seeds; keys are those of KEYS, as far as the loss has them."""

    label: str
    n: int  # seeds
    means: dict[str, Estimate]  # over corruptions and severities
    curves: dict[str, Values]  # (seeds, 1 + severities): means over corruptions, after the clean
    difference: Estimate | None  # of top-1 to the baseline, paired by seed
    relative_error: Estimate | None  # error as a share of the baseline's, paired by seed


class UnderShift(NamedTuple):
    """All losses of a comparison that were scored under the same corruptions."""

    names: list[str]  # corruptions
    severities: list[int]
    images: list[str]  # computed, published, or both among the runs
    rows: list[ShiftedRow]
    unscored: list[str]  # losses with a run that was not scored


class ForeignRow(NamedTuple):
    """A loss's detection of a foreign set by one certainty, over its seeds."""

    label: str
    certainty: str
    n: int
    scores: dict[str, Estimate]  # by their names: auroc, ...


def under_shift(comparison: Comparison) -> UnderShift | None:
    """Collect what all scored runs have under shift; None where no loss was scored."""
    scored = [row for row in comparison.rows if row.n and all(map(corruptions_of, row.runs))]
    labels = {row.label for row in scored}
    runs = [run for row in scored for run in row.runs]
    if not runs:
        return None
    shared = set.intersection(*map(corruptions_of, runs))
    severities = [s for s in SEVERITIES if any(key.endswith(f"/{s}") for key in shared)]
    others = sorted({key.partition("/")[0] for key in shared}.difference(FIFTEEN, FOUR))
    names = [
        name
        for name in (*FIFTEEN, *FOUR, *others)
        if severities and all(condition(name, severity) in shared for severity in severities)
    ]
    if not names:
        return None
    baseline = next((row for row in scored if row.label == comparison.baseline), None)
    images = sorted({run.tags.get("shift_images", "computed") for run in runs})
    return UnderShift(
        names,
        severities,
        images,
        [_shifted(comparison, row, baseline, names, severities) for row in scored],
        [row.label for row in comparison.rows if row.n and row.label not in labels],
    )


def foreign_rows(comparison: Comparison) -> dict[str, list[ForeignRow]]:
    """The detection of each foreign set on which every run of a loss was scored, by its name."""
    sets: dict[str, list[ForeignRow]] = {}
    for row in comparison.rows:
        names = [key.split("/")[1] for key in row.estimates if key.startswith(f"{FOREIGN}/")]
        for name, certainty in product(dict.fromkeys(names), CERTAINTIES):
            prefix, suffix = f"{FOREIGN}/{name}/", f"_{certainty}"
            scores = {
                key.removeprefix(prefix).removesuffix(suffix): of_key
                for key, of_key in row.estimates.items()
                if key.startswith(prefix) and key.endswith(suffix)
            }
            if scores:
                sets.setdefault(name, []).append(ForeignRow(row.label, certainty, row.n, scores))
    return sets


def relative_error(
    run: Run, baseline: Run, names: Iterable[str], severities: Sequence[int]
) -> float | None:
    """Mean over corruptions of the sum of errors over severities, divided by the baseline's sum.

    With AlexNet as baseline and the fifteen corruptions this is the mCE of Hendrycks and
    Dietterich, 2019, arXiv:1903.12261. None where the baseline makes no error under a corruption.
    """
    ratios = []
    for name in names:
        ours, theirs = (
            sum(1 - one.metrics[_key(SHIFT, name, s, "top1")] for s in severities)
            for one in (run, baseline)
        )
        if theirs == 0:
            return None
        ratios.append(ours / theirs)
    return fmean(ratios)


def corruptions_of(run: Run) -> set[str]:
    """The corruptions and severities under which a run was scored: {'fog/3', ...}."""
    keys = [key.split("/") for key in run.metrics if key.startswith(f"{SHIFT}/")]
    return {f"{parts[1]}/{parts[2]}" for parts in keys if len(parts) == 4 and parts[1] != MEAN}


def _key(prefix: str, name: str, severity: int, score: str) -> str:
    return f"{prefix}/{condition(name, severity)}/{score}"


def _shifted(
    comparison: Comparison,
    row: Row,
    baseline: Row | None,
    names: list[str],
    severities: list[int],
) -> ShiftedRow:
    boundary = comparison.field.boundary
    confidence, widening = confidence_of(boundary, row.n), widest(row.n, row.rivals)
    curves = {}
    for key in KEYS:
        curve = [_curve(run, key, names, severities) for run in row.runs]
        if all(values is not None for values in curve):
            curves[key] = np.array(curve, dtype=np.float64)
    means = {
        key: estimate(curve[:, 1:].mean(axis=1).tolist(), confidence, widening=widening)
        for key, curve in curves.items()
    }
    pairs = [] if baseline in (None, row) else _pairs(row, baseline)
    gains = [
        _top1(ours, names, severities) - _top1(theirs, names, severities) for ours, theirs in pairs
    ]
    ratios = [relative_error(ours, theirs, names, severities) for ours, theirs in pairs]
    rivals = most_rivals([row, baseline or row])
    paired_widening = widest(len(pairs), rivals)
    paired = confidence_of(boundary, len(pairs))
    return ShiftedRow(
        row.label,
        row.n,
        means,
        curves,
        estimate(gains, paired, widening=paired_widening) if gains else None,
        estimate([r for r in ratios if r is not None], paired, widening=paired_widening)
        if ratios and None not in ratios
        else None,
    )


def _curve(run: Run, key: str, names: list[str], severities: list[int]) -> list[float] | None:
    """The clean score, then means over corruptions by severity; None where one is absent."""
    prefix, _, score = key.partition("/")
    by_severity = [
        [_key(prefix, name, severity, score) for name in names] for severity in severities
    ]
    clean = f"{CLEAN[prefix]}/{score}"
    if not all(key in run.metrics for key in (clean, *(k for keys in by_severity for k in keys))):
        return None
    means = [fmean(run.metrics[key] for key in keys) for keys in by_severity]
    return [run.metrics[clean], *means]


def _top1(run: Run, names: list[str], severities: list[int]) -> float:
    return fmean(run.metrics[_key(SHIFT, name, s, "top1")] for name in names for s in severities)


def _pairs(row: Row, baseline: Row | None) -> list[tuple[Run, Run]]:
    """The runs of a loss and of the baseline that have the same seed."""
    by_seed = {run.params["seed"]: run for run in baseline.runs} if baseline else {}
    return [(run, by_seed[run.params["seed"]]) for run in row.runs if run.params["seed"] in by_seed]
