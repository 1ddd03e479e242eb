"""All metrics of a set of predictions, from the outputs of any classifier."""

from typing import TYPE_CHECKING

from xent_bench.metrics.reported import METRICS
from xent_bench.metrics.score import score as score_split
from xent_bench.runs.given_outputs import (
    LinkLike,
    read_outputs,
    read_target,
    refuse_other_order,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor


def score(
    outputs: "ArrayLike | Tensor", target: "ArrayLike | Tensor", *, link: LinkLike = "softmax"
) -> dict[str, float]:
    """Compute every metric of a whole test set: top1, nll, brier, ece and more, by name.

        xb.score(logits, target)["ece"]
        xb.score(p, target, link="probabilities")["nll"]

    `outputs` are (n, classes); `target` holds the index of each true class, (n,), or soft labels
    (n, classes). Both may be NumPy arrays, tensors on any device, or lists. `link` says how outputs
    are read: "softmax" (logits), "sigmoid" or "simplex" (nets trained with such a loss), "margin"
    (scores that are no probabilities), "probabilities", "log_probabilities", or the link of a loss,
    as in `link=xb.loss("logit_norm").link`.

    Values are as in a run's result.json: shares are in [0, 1], and NLL is in nats. A metric that is
    not defined is absent, such as top5 below five classes, or what needs probabilities with
    "margin". xent_bench/metrics/README.md explains each. Pass the whole set at once: the mean of
    the ECE over batches is another number.

    ValueError for shapes and labels that do not fit, NaN, and probabilities given as logits.
    """
    refuse_other_order(outputs, target, "outputs and target")
    logits, reading = read_outputs(outputs, link, "outputs")
    labels = read_target(target, logits, "target")
    values = score_split(logits, labels, reading)
    return {name: values[name] for name in [*METRICS, *values] if name in values}
