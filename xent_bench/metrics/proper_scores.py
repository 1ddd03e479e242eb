"""Proper scores: best, in expectation, for the true probabilities alone."""

from xent_bench.types import Index, LogProbabilities


def nll(log_probabilities: LogProbabilities, target: Index) -> float:
    """mean -log p_y, in nats; inf if a true class was given probability 0."""
    return -log_probabilities.gather(1, target[:, None]).mean().item()


def brier(log_probabilities: LogProbabilities, target: Index) -> float:
    """mean sum_k (p_k - e_k)^2 with e one-hot; in [0, 2].  Brier, 1950."""
    error = log_probabilities.exp()
    error[range(len(target)), target] -= 1
    return error.square_().sum(dim=1).mean().item()
