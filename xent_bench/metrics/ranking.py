"""Ranking: does certainty tell right answers from wrong ones? Calibration plays no part in it.

A tie counts as much as breaking it at random gives on average.
"""

import math

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


def augrc(ranked: Ranked) -> float:
    """Area under the generalised risk-coverage curve, by trapezia from coverage 0; in [0, 1/2].

    The generalised risk at coverage k / n is the share of all n images that are among the k most
    certain and answered wrongly: the chance of a wrong answer that nobody held back. So every wrong
    answer counts as much as it is certain, where aurc counts the most certain many times over. For
    hard labels it is (1 - A) r (1 - r) + r^2 / 2, with A auroc_correct and r the share of wrong
    answers.  Traub et al., 2024, arXiv:2407.01032.
    """
    wrong = 1 - ranked.correct
    n = len(wrong)
    return float(wrong @ (np.arange(n) + 0.5)) / n**2


def risk_at(coverage: float, ranked: Ranked) -> float:
    """Share of wrong answers among the ceil(coverage n) most certain of n images; in [0, 1]."""
    most = math.ceil(coverage * len(ranked.correct) - 1e-9)  # 0.95 is no binary fraction
    return float(1 - ranked.correct[-most:].mean())


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
