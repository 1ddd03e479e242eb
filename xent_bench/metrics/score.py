"""What is reported about a split: the one list of it."""

from xent_bench.metrics.accuracy import accuracy
from xent_bench.metrics.calibration import ece
from xent_bench.metrics.proper_scores import brier, nll
from xent_bench.types import Index, Logits, LogProbabilities


def score(log_probabilities: LogProbabilities, target: Index) -> dict[str, float]:
    """Every metric of a whole split, by name. A ValueError if a log-probability is NaN."""
    if log_probabilities.isnan().any():
        raise ValueError("expected log-probabilities, got NaN among them")
    return accuracy(log_probabilities, target) | {
        "nll": nll(log_probabilities, target),
        "brier": brier(log_probabilities, target),
        "ece": ece(log_probabilities, target),
    }


def score_outputs(
    logits: Logits, log_probabilities: LogProbabilities | None, target: Index
) -> dict[str, float]:
    """The metrics of a net's outputs; without probabilities (a margin loss) accuracy alone.

    Accuracy is read from the outputs: a projection onto the simplex ties what it maps to zero.
    """
    if log_probabilities is None:
        return accuracy(logits, target)
    return score(log_probabilities, target) | accuracy(logits, target)
