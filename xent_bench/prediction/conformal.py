"""Sets of classes that hold the true one as often as asked: split conformal prediction.

Papadopoulos et al., 2002; Vovk et al., 2005; Angelopoulos and Bates, 2021, arXiv:2107.07511.

The score of a class is its gap: the largest output of the image minus that of the class, in the
array that the temperature divides. So it is

- valid: the guarantee asks that calib's images and the new one be scored alike. A temperature was
  fitted on calib's labels, but any temperature divides all gaps and the threshold by one number:
  the sets are the same without it. This does not hold for scores of scaled probabilities, as those
  of LAC and APS.
- there for every loss: a hinge has outputs, and no probabilities as trained. Its temperature
  divides the outputs themselves, so that the same holds.
- never empty: the answer has gap 0.
- small: over 30 seeds of a small CNN on Fashion-MNIST with cross-entropy (calib 5,000 and test
  10,000 shuffled 5 times for each) sets at 0.9 had 1.092 classes in the mean, those by the
  probability as trained (LAC) 1.088, by RAPS (lambda 0.1, k 1) 1.146, by APS without a draw 4.55;
  at 0.99 they had 2.08, 2.06, 3.05 and 7.82. On digits, where more than 0.98 of the answers are
  right, sets at 0.9 are the answers alone (1.000), and the others are empty for 0.09 of the images.
"""

import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from xent_bench.arrays import Labels, Outputs, Values

LEVEL = 0.95  # of the interval


class Conformal(NamedTuple):
    """The threshold of the gaps, fitted on calib, and what it guarantees."""

    coverage: float  # asked for
    n: int  # images of calib
    rank: int  # of the threshold among calib's gaps, from 1; above n where calib is too small
    threshold: float  # in units of what the temperature divides; inf: every class is in every set
    right: int  # answers on calib that were right

    @property
    def is_too_small(self) -> bool:
        """Whether calib has too few images for the coverage: sets are then all classes."""
        return self.rank > self.n

    @property
    def is_answers_alone(self) -> bool:
        """Whether the answers alone are right often enough; their coverage may then be larger."""
        return self.threshold <= 0

    def sets(self, u: Outputs) -> Bool[np.ndarray, "n c"]:
        """Tell which classes are in the set of each image; u is what the temperature divides."""
        members: Bool[np.ndarray, "n c"] = gaps(u) <= self.threshold
        return members

    def interval(self) -> tuple[float, float]:
        """The coverage on new images that 95 % of calibs of this size give, both ends.

        The coverage of one calib is Beta(rank, n + 1 - rank) distributed where no two gaps are
        equal (Vovk, 2012), and larger where the sets are the answers alone, whose gaps are all 0.
        """
        from scipy.stats import beta

        if self.is_too_small:
            return 1.0, 1.0
        tail = (1 - LEVEL) / 2
        low, high = beta.ppf([tail, 1 - tail], self.rank, self.n + 1 - self.rank)
        return float(low), float(high)


def fit_conformal(u: Outputs, labels: Labels, coverage: float) -> Conformal:
    """Fit the threshold on calib: the ceil((n + 1) coverage)-th smallest gap of the true class."""
    n = len(labels)
    rank = math.ceil(Fraction(str(coverage)) * (n + 1))  # exact: 0.07 * 100 is 7.000000000000001
    of_truth: Values = np.take_along_axis(gaps(u), labels[:, None], axis=1)[:, 0]
    threshold = math.inf if rank > n else float(np.partition(of_truth, rank - 1)[rank - 1])
    return Conformal(coverage, n, rank, threshold, int((of_truth == 0).sum()))


def gaps(u: Outputs) -> Outputs:
    """max_j u_j - u_k of each class k, at least 0."""
    result: Outputs = u.max(axis=1, keepdims=True) - u
    return result


def conformal_lines(conformal: Conformal) -> list[str]:
    """The sentences that say what the sets guarantee, and where they do not."""
    asked, n = conformal.coverage, conformal.n
    if conformal.is_too_small:
        least = math.ceil(1 / (1 - Fraction(str(asked)))) - 1
        return [
            f"Sets at {asked:g} hold all classes: calib has {n:,} images, and {least:,} are the "
            "fewest that allow smaller ones at this coverage."
        ]
    low, high = conformal.interval()
    lines = [
        f"Sets hold the true class with probability {asked:g} at least, over calib and image "
        f"together (split conformal, calib n = {n:,}). Given one calib, the share of new images "
        f"whose set holds their class lies between {low:.3f} and {high:.3f} for {LEVEL:.0%} of "
        "calibs of this size. All this holds for images and labels drawn as calib's were, and for "
        "no others."
    ]
    if conformal.is_answers_alone:
        lines.append(
            f"Here the sets are the answers alone, which are right on {conformal.right:,} of "
            f"{n:,} images of calib: their coverage may be above this range."
        )
    return lines
