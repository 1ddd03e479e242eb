"""Answers that are withheld below a confidence, and what calib shows of those that are given."""

from typing import NamedTuple

import numpy as np

from xent_bench.arrays import Labels, LogProbabilities

LEVEL = 0.95  # of the interval


class Abstention(NamedTuple):
    """How often calib's images are answered at a confidence, and how often wrongly."""

    confidence: float  # the least that is answered
    split: str  # where it was counted
    n: int  # images
    answered: int
    wrong: int  # of the answered
    reason: str  # why the counts are not exactly those of new images; empty if they are

    def interval(self) -> tuple[float, float]:
        """The exact interval of the share of wrong answers (Clopper and Pearson, 1934)."""
        from scipy.stats import binomtest

        ends = binomtest(self.wrong, self.answered).proportion_ci(LEVEL, method="exact")
        return float(ends.low), float(ends.high)


def abstention(
    log_p: LogProbabilities, labels: Labels, confidence: float, split: str, reason: str = ""
) -> Abstention:
    """Count the answers whose probability is at least `confidence`, and the wrong ones of them."""
    is_answered = np.exp(log_p.max(axis=1)) >= confidence
    wrong = is_answered & (log_p.argmax(axis=1) != labels)
    return Abstention(
        confidence, split, len(labels), int(is_answered.sum()), int(wrong.sum()), reason
    )


def abstention_lines(shown: Abstention) -> list[str]:
    """The sentences that say what may be expected at this confidence."""
    where = f"{shown.split} (n = {shown.n:,})"
    if not shown.answered:
        return [f"At {shown.confidence:g} none of {where} is answered: nothing is known of errors."]
    low, high = shown.interval()
    share, risk = shown.answered / shown.n, shown.wrong / shown.answered
    lines = [
        f"At {shown.confidence:g}, {share:.1%} of {where} are answered, and {shown.wrong:,} of "
        f"these {shown.answered:,} answers are wrong: {risk:.1%}, exact {LEVEL:.0%} interval "
        f"{low:.1%} to {high:.1%}."
    ]
    if shown.reason:
        lines.append(
            f"{shown.reason}: new images drawn alike give nearly these numbers, not exactly."
        )
    return lines
