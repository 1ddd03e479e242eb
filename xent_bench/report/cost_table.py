"""The table of what a difference in top-1 costs, with a fixed number of seeds and until decided."""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import Contrast
from xent_bench.comparison.expected_seeds import Stops, longest, stops, stops_with_power
from xent_bench.comparison.sequential import looks_until
from xent_bench.comparison.stats import LEVEL, choice_widening, seeds_needed
from xent_bench.runs.pace import duration
from xent_bench.tables import Table

TOP1 = "test/top1"


class Cost(NamedTuple):
    """The seeds that show a difference of one loss to the baseline, and seconds of their runs."""

    label: str
    effect: float  # standard deviations of the paired differences
    fixed: int
    stops: Stops
    seconds: float  # of a run of the loss


def costs_of_power(comparison: Comparison, points: float) -> Table | None:
    """Table of seeds, runs and time for `points` points of top-1; None without a difference.

    Both designs have top-1 as their primary metric, so that they are comparable.
    """
    contrasts = [c for c in comparison.contrasts if c.yardstick.key == TOP1 and not c.same]
    if not contrasts:
        return None
    known = [_cost(comparison, contrast, points, len(contrasts)) for contrast in contrasts]
    costs = [cost for cost in known if cost is not None]
    baseline = _seconds(comparison, str(comparison.baseline))
    by_label = {cost.label: _cells([cost], baseline) for cost in costs}
    rows = [[c.label, *by_label.get(c.label, ["-"] * 7)] for c in contrasts]
    if len(costs) > 1:
        rows.append(["all of these", *_cells(costs, baseline)])
    headings = [
        *("loss", "fixed\nseeds", "fixed\nruns", "fixed\ntime"),
        *("decided\nmean seeds", "decided\nmost seeds", "decided\nmean runs", "decided\ntime"),
    ]
    return Table(f"What {points:g} points of top-1 cost", headings, rows, _notes(costs, points))


def _cells(costs: Sequence[Cost], baseline: float) -> list[str]:
    """Cells of one loss or of several that share a baseline, whose runs take `baseline` seconds."""
    fixed = max(cost.fixed for cost in costs)
    courses = [cost.stops for cost in costs]
    shared = longest(courses)  # mean number of runs of the baseline
    means = sum(course.mean for course in courses)
    seconds = sum(cost.stops.mean * cost.seconds for cost in costs) + shared * baseline
    return [
        str(fixed),
        str(fixed * (len(costs) + 1)),
        duration(fixed * (sum(cost.seconds for cost in costs) + baseline)),
        f"{means / len(courses):.1f}",
        str(max(course.looks[-1] for course in courses)),
        f"{means + shared:.0f}",
        duration(seconds),
    ]


def _notes(costs: Sequence[Cost], points: float) -> list[str]:
    notes = [
        "Fixed: so many seeds of every loss and of the baseline, for 80 % of sweeps as above, but "
        "with top-1 as the primary metric. Decided: until=decided, which adds seeds to a loss "
        "until it is decided; that it may end earlier as a tie is not counted. Runs: of the "
        "loss and of the baseline, which several losses share. Time: by the mean duration of the "
        "runs at hand, one after the other. -: the spread is unknown, or more than 1,000 seeds are "
        "needed."
    ]
    if costs:
        most = max(cost.stops.looks[-1] for cost in costs)
        power = min(cost.stops.power for cost in costs)
        twice = fmean(stops(2 * cost.effect, looks_until(most)).mean for cost in costs)
        notes.append(
            f"Typed: until=decided primary={TOP1} max_seeds={most}. A true difference of "
            f"{points:g} points is found in at least {math.floor(100 * power)} % of sweeps, by the "
            f"spread at hand. Nobody knows a difference beforehand: if it is twice as large, "
            f"{twice:.1f} seeds are enough on average."
        )
    return notes


def _cost(comparison: Comparison, contrast: Contrast, points: float, tests: int) -> Cost | None:
    """Cost of the question about one loss; None if it cannot be told or needs too many seeds."""
    spread, n = contrast.difference.spread, contrast.difference.n
    if spread is None:
        return None
    most = max(row.trials for row in comparison.rows)
    widening = 1.0 if comparison.sequential else choice_widening(n, most)
    effect, level = points / 100 / (widening * spread), LEVEL / tests
    fixed, course = seeds_needed(effect, 1.0, level), stops_with_power(effect, level)
    if fixed is None or course is None:
        return None
    return Cost(contrast.label, effect, fixed, course, _seconds(comparison, contrast.label))


def _seconds(comparison: Comparison, label: str) -> float:
    """Mean duration of the runs of a loss, which has finished ones."""
    return next(row.seconds or 0.0 for row in comparison.rows if row.label == label)
