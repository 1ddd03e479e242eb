"""The winner's curse: how much of a chosen trial's score on val was luck, by its fresh seeds."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.row import Row
from xent_bench.comparison.stats import Estimate
from xent_bench.comparison.trials import mean_score
from xent_bench.comparison.tuning import sign_of


class Curse(NamedTuple):
    """The score on val of a loss's chosen trial, by the seeds that chose it and by fresh ones."""

    row: Row
    chosen: Estimate
    fresh: Estimate

    @property
    def gap(self) -> float:
        """Mean over the fresh seeds minus the score by which the trial was chosen."""
        return self.fresh.mean - self.chosen.mean


def winners_curses(comparison: Comparison) -> list[Curse]:
    """The two scores of each loss whose chosen trial has fresh seeds."""
    choose_by = comparison.options.choose_by
    curses = []
    for row in comparison.rows:
        fresh = mean_score(row.trial.fresh_runs, choose_by)
        if row.trials > 1 and fresh is not None and row.trial.score is not None:
            curses.append(Curse(row, row.trial.score, fresh))
    return curses


def mean_luck(curses: Sequence[Curse], choose_by: str) -> float:
    """How much better the choosing seeds scored than fresh ones, mean over losses."""
    return sign_of(choose_by) * fmean(curse.gap for curse in curses)
