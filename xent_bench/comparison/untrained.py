"""Losses of which some nets learnt nothing: runs that diverged, or answer no better than chance.

A comparison with them is right, and says little about the loss: it may learn at another rate.
"""

import math
from collections.abc import Sequence

from xent_bench.comparison.row import Row
from xent_bench.runs.result import Run

AT_BOUND, ENTROPY = "test_ts/temperature_at_bound", "test_ts/entropy"
BALANCED = "test/balanced_top1"
SLACK = 1.1  # a mean recall up to this much above that of a guess counts as one
MOST = 0.5  # mean recall of a guess between two classes; nets without a wrong answer are above it


def untrained(rows: Sequence[Row]) -> list[str]:
    """Say of which losses runs diverged or answer no better than chance; empty without such runs.

    Each item is a sentence without its full stop.
    """
    diverged = {row.label: (_diverged(row), row.choice.begun) for row in rows}
    guessing = {row.label: (sum(map(_guesses, row.runs)), row.n) for row in rows}
    return [
        *_listed("Diverged, so that scores are those of the others alone", diverged),
        *_listed("No better than chance at this setting", guessing),
    ]


def _listed(begin: str, counts: dict[str, tuple[int, int]]) -> list[str]:
    of = "of {} run{}"
    items = [
        f"{label} ({count} {of.format(runs, 's' * (runs != 1))})"
        for label, (count, runs) in counts.items()
        if count
    ]
    return [f"{begin}: {', '.join(items)}"] if items else []


def _diverged(row: Row) -> int:
    return sum(run.reason.startswith("Diverged") for run in row.trial.unfinished)


def _guesses(run: Run) -> bool:
    """Whether calibration makes all classes nearly equal, and the mean recall is that of a guess.

    exp(-entropy) of equal probabilities is 1 / classes.
    """
    metrics = run.metrics
    if not metrics.get(AT_BOUND) or ENTROPY not in metrics or BALANCED not in metrics:
        return False
    return metrics[BALANCED] <= min(MOST, SLACK * math.exp(-metrics[ENTROPY]))
