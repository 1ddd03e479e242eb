"""Temperature scaling of any classifier's outputs, fitted on examples that were held out."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from xent_bench.calibrators import temperature
from xent_bench.links import BoundLink
from xent_bench.runs.given_outputs import (
    LinkLike,
    read_outputs,
    read_target,
    refuse_other_order,
    without_zeros,
)
from xent_bench.runs.predictions import Predicted

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor


@dataclass(frozen=True)
class FittedTemperature:
    """A temperature T and the map from outputs to calibrated probabilities, softmax(u / T).

    value: T; above 1 makes a classifier less sure, below 1 surer.
    error: standard error of T, None if the examples do not determine it.
    at_bound: whether T is not determined: no answer is wrong, or they are no better than chance.
    """

    value: float
    error: float | None
    at_bound: bool
    link: LinkLike = field(repr=False)
    classes: int = field(repr=False)

    def __call__(self, outputs: "ArrayLike | Tensor") -> Float[np.ndarray, "n c"]:
        """Return calibrated probabilities (n, classes) in float64.

        `outputs` are of the kind that T was fitted on.
        """
        logits, link = _read(outputs, self.link, "outputs")
        if logits.shape[1] != self.classes:
            expected = f"expected outputs for {self.classes} classes"
            raise ValueError(f"outputs: {expected}, got {logits.shape[1]}")
        log_p = temperature.scale(logits, link=link, temperature=self.value)
        probabilities: np.ndarray = np.exp(log_p)
        return probabilities


def fit_temperature(
    outputs: "ArrayLike | Tensor", target: "ArrayLike | Tensor", *, link: LinkLike = "softmax"
) -> FittedTemperature:
    """Fit the temperature T at which the mean NLL of softmax(outputs / T) is least.

        scaled = xb.fit_temperature(calib_logits, calib_target)
        probabilities = scaled(test_logits)

    The examples must be held out: neither trained on, nor those on which the result is scored.
    Arguments are those of `xb.score`. Where the link keeps the order of the outputs but is no
    softmax, T divides the log-probabilities, as it does for probabilities. Guo et al., 2017.
    """
    refuse_other_order(outputs, target, "outputs and target")
    logits, reading = _read(outputs, link, "outputs")
    labels = read_target(target, logits, "target")
    calib = Predicted("calib", logits, labels, np.arange(len(logits)))
    fitted = temperature.fit_temperature(calib, reading)
    error = None if fitted.error is None else fitted.value * fitted.error
    return FittedTemperature(fitted.value, error, fitted.at_bound, link, logits.shape[1])


def _read(outputs: "ArrayLike | Tensor", link: LinkLike, name: str) -> tuple[np.ndarray, BoundLink]:
    """Read outputs in float64, with probabilities of 0 replaced."""
    logits, reading = read_outputs(outputs, link, name)
    return without_zeros(logits.astype(np.float64)), reading
