"""Ranking: does certainty tell right answers from wrong ones? Calibration plays no part in it.

A tie counts as much as breaking it at random gives on average.
"""

import math

import numpy as np

from xent_bench.metrics.ranked import EachRow, Ranked, Rows, by_row, risks_of


def risks(ranked: Ranked) -> Rows:
    """Share of wrong answers among the k most certain, for k = 1 to n: risk at coverage k / n."""
    return ranked.risks


def aurc(ranked: Ranked) -> EachRow:
    """Area under the risk-coverage curve: mean over k of risk(k / n); in [0, 1].

    Geifman, Uziel and El-Yaniv, 2019, arXiv:1805.08206.
    """
    return _mean(risks(ranked))


def augrc(ranked: Ranked) -> EachRow:
    """Area under the generalised risk-coverage curve, by trapezia from coverage 0; in [0, 1/2].

    The generalised risk at coverage k / n is the share of all n images that are among the k most
    certain and answered wrongly: the chance of a wrong answer that nobody held back. So every wrong
    answer counts as much as it is certain, where aurc counts the most certain many times over. For
    hard labels it is (1 - A) r (1 - r) + r^2 / 2, with A auroc_correct and r the share of wrong
    answers.  Traub et al., 2024, arXiv:2407.01032.
    """
    wrong = 1 - ranked.correct
    middles = np.arange(ranked.n) + 0.5
    return by_row(lambda row: float(row @ middles) / ranked.n**2, wrong)


def risk_at(coverage: float, ranked: Ranked) -> EachRow:
    """Share of wrong answers among the ceil(coverage n) most certain of n images; in [0, 1]."""
    most = math.ceil(coverage * ranked.n - 1e-9)  # 0.95 is no binary fraction
    return 1 - _mean(ranked.correct[..., -most:])


def eaurc(ranked: Ranked) -> EachRow:
    """aurc minus the aurc of the best order of the same answers; in [0, 1].

    The best order has all right answers first; for soft labels q, the answers of largest q. Its
    aurc is summed exactly: r + (1 - r) log(1 - r), as in the paper, is the limit for large n. The
    best order may separate equally certain answers. Geifman et al., 2019, arXiv:1805.08206.
    """
    return aurc(ranked) - _mean(risks_of(np.sort(ranked.outcome)))


def auroc_correct(ranked: Ranked) -> EachRow | None:
    """Probability that a right answer is more certain than a wrong one; a tie counts half.

    None if all answers are right or all are wrong, in one of the rankings.
    """
    correct, wrong = ranked.correct, 1 - ranked.correct
    pairs = correct.sum(axis=-1) * wrong.sum(axis=-1)
    if (pairs < 1e-9).any():
        return None
    # minus wrong / 2: tied examples share one `wrong`, so half of every tied pair is counted
    below = wrong.cumsum(axis=-1) - wrong / 2
    auroc: EachRow = by_row(lambda row, below_row: float(row @ below_row), correct, below) / pairs
    return auroc


def _mean(values: Rows) -> EachRow:
    mean: EachRow = values.mean(axis=-1)
    return mean
