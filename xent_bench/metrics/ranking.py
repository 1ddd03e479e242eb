"""Ranking: does certainty tell right answers from wrong ones? Calibration plays no part in it.

A tie counts as much as breaking it at random gives on average.
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

    Geifman, Uziel and El-Yaniv, 2019, arXiv:1805.08206.
    """
    return float(risks(ranked).mean())


def eaurc(ranked: Ranked) -> float:
    """aurc minus the aurc of the best order of the same answers; in [0, 1].

    The best order has all right answers first; for soft labels q, the answers of largest q. Its
    aurc is summed exactly: r + (1 - r) log(1 - r), as in the paper, is the limit for large n. The
    best order may separate equally certain answers. Geifman et al., 2019, arXiv:1805.08206.
    """
    best = np.sort(ranked.outcome)
    return aurc(ranked) - aurc(Ranked(best, best, best, np.arange(len(best))))


def auroc_correct(ranked: Ranked) -> float | None:
    """Probability that a right answer is more certain than a wrong one; a tie counts half.

    None if all answers are right or all are wrong.
    """
    correct, wrong = ranked.correct, 1 - ranked.correct
    pairs = correct.sum() * wrong.sum()
    if pairs < 1e-9:
        return None
    # minus wrong / 2: tied examples share one `wrong`, so half of every tied pair is counted
    return float(correct @ (wrong.cumsum() - wrong / 2) / pairs)
