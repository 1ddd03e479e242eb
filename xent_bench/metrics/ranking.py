"""Ranking: does certainty tell right answers from wrong ones? Blind to calibration.

Ties are worth what breaking them at random gives on average.
"""

import numpy as np

from xent_bench.arrays import Values
from xent_bench.metrics.ranked import Ranked


def risks(ranked: Ranked) -> Values:
    """Share of wrong answers among the k most certain, for k = 1 to n: risk at coverage k / n."""
    wrong = 1 - ranked.correct[::-1]
    return wrong.cumsum() / np.arange(1, len(wrong) + 1)


def aurc(ranked: Ranked) -> float:
    """Area under the risk-coverage curve: mean over k of risk(k / n); in [0, 1].

    Geifman and El-Yaniv, 2017, arXiv:1705.08500.
    """
    return float(risks(ranked).mean())


def eaurc(ranked: Ranked) -> float:
    """aurc less that of the best order, all right answers first.  Geifman et al., 2019.

    The best is summed exactly; the paper's r + (1 - r) log(1 - r) is its limit for large n.
    """
    best = np.sort(ranked.correct)
    return aurc(ranked) - aurc(Ranked(best, best))


def auroc_correct(ranked: Ranked) -> float | None:
    """Probability that a right answer is more certain than a wrong one; a tie counts half.

    None where all are right or all wrong.
    """
    certainty, correct = ranked
    right, wrong = correct.sum(), (1 - correct).sum()
    if min(right, wrong) < 1e-9:
        return None
    before = np.concatenate([[0], (1 - correct).cumsum()])  # wrong ones among the first k
    less, no_more = (before[np.searchsorted(certainty, certainty, s)] for s in ("left", "right"))
    return float(correct @ (less + no_more) / 2 / right / wrong)
