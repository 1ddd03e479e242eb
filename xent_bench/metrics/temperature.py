"""Temperature scaling.  Guo et al., 2017, arXiv:1706.04599."""

import math

from xent_bench.types import Index, Logits, LogProbabilities

# The range that Mukhoti et al., 2020, search. A fit that ends on a bound has no optimum within.
BOUNDS = (0.1, 10.0)


def scale(logits: Logits, temperature: float) -> LogProbabilities:
    """log softmax(z / T): the map for every link, a hinge's scores included. Keeps top-1."""
    return (logits / temperature).log_softmax(dim=1)


def fit_temperature(logits: Logits, target: Index) -> float:
    """The T in BOUNDS that minimises the mean NLL of softmax(z / T).

    Newton's method in 1/T, in which the NLL is convex, kept inside a bracket by bisection, in
    float64. Where every example is right, no finite 1/T is best and the lower bound comes back.
    """
    z = logits.double()
    low, high = (math.log(1 / bound) for bound in reversed(BOUNDS))  # a bracket of log 1/T
    if _slope(z, target, math.exp(low))[0] >= 0:
        return BOUNDS[1]
    if _slope(z, target, math.exp(high))[0] <= 0:
        return BOUNDS[0]
    guess = 0.0
    while high - low > 1e-12:
        first, second = _slope(z, target, math.exp(guess))
        low, high = (guess, high) if first < 0 else (low, guess)
        beta = math.exp(guess) - first / second if second > 0 else 0.0
        step = math.log(beta) if beta > 0 else -math.inf
        if abs(step - guess) < 1e-12:
            break
        guess = step if low < step < high else (low + high) / 2
    return math.exp(-guess)


def _slope(z: Logits, target: Index, beta: float) -> tuple[float, float]:
    """First and second derivative of the mean NLL of softmax(beta z) by beta."""
    p = (beta * z).softmax(dim=1)
    mean = (p * z).sum(dim=1)
    variance = (p * (z - mean[:, None]).square()).sum(dim=1)
    return (mean - z.gather(1, target[:, None]).squeeze(1)).mean().item(), variance.mean().item()
