"""Is a net as unsure as the people who voted?  Uma et al., 2021, doi:10.1613/jair.1.12752."""

import numpy as np

from xent_bench.arrays import Values

CONSTANT = 1e-9  # nats: entropies within this are taken as equal


def entropy_correlation(entropy: Values, label_entropy: Values) -> float | None:
    """Pearson's correlation over examples of H(p) and H(q), in [-1, 1].

    None where one of them is the same for all examples, as H(q) = 0 of hard labels is.
    """
    if min(np.ptp(entropy), np.ptp(label_entropy)) < CONSTANT:
        return None
    x, y = _standardised(entropy), _standardised(label_entropy)
    return float(np.clip((x * y).mean(), -1, 1))


def entropy_correlation_error(entropy: Values, label_entropy: Values) -> float | None:
    """Standard error of `entropy_correlation`, by influence: s(f) / sqrt(n).

    f_i = x_i y_i - r (x_i^2 + y_i^2) / 2 with both entropies standardised (Devlin et al., 1975,
    doi:10.1093/biomet/62.3.531). None where there is no correlation.
    """
    r = entropy_correlation(entropy, label_entropy)
    if r is None:
        return None
    x, y = _standardised(entropy), _standardised(label_entropy)
    influence = x * y - r * (x**2 + y**2) / 2
    return float(influence.std(ddof=1) / len(x) ** 0.5)


def _standardised(values: Values) -> Values:
    standardised: Values = (values - values.mean()) / values.std()
    return standardised
