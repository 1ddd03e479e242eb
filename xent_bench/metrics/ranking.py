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

    Geifman, Uziel and El-Yaniv, 2019, arXiv:1805.08206.
    """
    return float(risks(ranked).mean())


def eaurc(ranked: Ranked) -> float:
    """aurc less that of the best order, all right answers first; of soft labels the answers of
    largest q.  Ibid.

    The best is summed exactly; the paper's r + (1 - r) log(1 - r) is its limit for large n. It is
    the best of all orders, also of those that part equally certain answers.
    """
    best = np.sort(ranked.outcome)
    return aurc(ranked) - aurc(Ranked(best, best, best, np.arange(len(best))))


def auroc_correct(ranked: Ranked) -> float | None:
    """Probability that a right answer is more certain than a wrong one; a tie counts half.

    None where all are right or all wrong.
    """
    correct, wrong = ranked.correct, 1 - ranked.correct
    pairs = correct.sum() * wrong.sum()
    if pairs < 1e-9:
        return None
    # half of an example's own doubt: those that tie share one, so half of each pair of them
    return float(correct @ (wrong.cumsum() - wrong / 2) / pairs)
