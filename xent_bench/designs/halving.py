"""Successive halving: all trials are trained for a part of the epochs, the better half for more.

Jamieson and Talwalkar, 2016, arXiv:1502.07943, but with rungs at equal steps: theirs about double
the epochs, so with three rungs they would first judge after a quarter of them, and here after a
third. Pure functions: the same scores give the same trials, whatever happened in between.
"""

import math
from collections.abc import Hashable, Mapping
from typing import TypeVar

from xent_bench.config.configure import ConfigError

Label = TypeVar("Label", bound=Hashable)


def rung_epochs(epochs: int, rungs: int) -> list[int]:
    """The epochs that a trial has at the end of each rung: i / rungs of all, rounded half up.

    They increase strictly, and the last is `epochs`. ConfigError for more rungs than epochs.
    """
    if not 1 <= rungs <= epochs:
        raise ConfigError(
            "rungs",
            f"expected at most one rung an epoch, so 1 to {epochs} with epochs={epochs}, "
            f"got {rungs}",
        )
    return [(2 * epochs * rung + rungs) // (2 * rungs) for rung in range(1, rungs + 1)]


def survivors(scores: Mapping[Label, float | None], better: int) -> list[Label]:
    """The trials that go on to the next rung: the better half, rounded up, in their order.

    `better` is the sign of an improvement, 1 or -1. Of equal trials the earlier ones go on. A trial
    without a score (None or NaN: it failed or diverged) counts when the number is halved and never
    goes on, so there may be fewer than half, or none.
    """
    number = (len(scores) + 1) // 2
    scored = {
        label: better * score
        for label, score in scores.items()
        if score is not None and not math.isnan(score)
    }
    best = sorted(scored, key=lambda label: -scored[label])[:number]  # sorting keeps equals' order
    return [label for label in scores if label in best]
