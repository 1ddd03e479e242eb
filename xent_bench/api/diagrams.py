"""Reliability diagrams of any classifier's predictions, or of a run's."""

from os import PathLike
from typing import TYPE_CHECKING

from xent_bench.api.stored import predictions
from xent_bench.calibrators.temperature import fit_temperature
from xent_bench.evaluation.evaluate import readings
from xent_bench.evaluation.pictures import reliability_diagram
from xent_bench.metrics.calibration import ece
from xent_bench.metrics.examples import Examples, examine
from xent_bench.metrics.reliability import reliability as bins_of
from xent_bench.metrics.reported import TITLES
from xent_bench.metrics.uncertainty import null_band, verdict
from xent_bench.palette import TABLE
from xent_bench.runs.given_outputs import (
    LinkLike,
    read_outputs,
    read_target,
    refuse_other_order,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike
    from torch import Tensor

COLOUR = TABLE["ce"]


def reliability(
    outputs_or_run: "ArrayLike | Tensor | str | PathLike[str]",
    target: "ArrayLike | Tensor | None" = None,
    *,
    link: LinkLike = "softmax",
) -> "Figure":
    """Draw accuracy against confidence in 15 bins, with the range that a calibrated net shows.

        xb.reliability(logits, target)
        xb.reliability("runs/quickstart/ce-digits-cnn-s0-d302c68dc2")

    Outputs, target and link are as `xb.score` takes them. Of a run's folder, predictions on test
    are drawn as trained and after temperature scaling. Above a panel stand the ECE, with the one
    that a calibrated net stays below in 97.5 % of cases, and the gap: mean confidence minus
    accuracy, with the central 95 % of a calibrated net's.
    The result is a Matplotlib Figure without pyplot's state: `figure.savefig("file.png")`.
    """
    if isinstance(outputs_or_run, str | PathLike):
        if target is not None:
            raise ValueError("target: the predictions of a run have their own labels")
        stored = predictions(outputs_or_run)
        fitted = fit_temperature(stored.calib, stored.link)
        by_reading = readings(stored, fitted)
    else:
        if target is None:
            raise ValueError("target: expected the labels of the outputs, got none")
        refuse_other_order(outputs_or_run, target, "outputs and target")
        outputs, reading = read_outputs(outputs_or_run, link, "outputs")
        labels = read_target(target, outputs, "target")
        by_reading = {"test": examine(outputs, labels, reading)}
    panels = {
        _title(prefix, examples): examples.probabilistic and bins_of(examples.ranked)
        for prefix, examples in by_reading.items()
    }
    n = len(by_reading["test"].target)
    return reliability_diagram(f"n = {n:,} test examples", panels, COLOUR)


def _title(prefix: str, examples: Examples) -> str:
    """Return two lines for a panel: the verdict, and the numbers behind it in per cent."""
    if examples.probabilistic is None:
        return TITLES[prefix]
    ranked = examples.ranked
    band = null_band(ranked)
    error, gap = 100 * ece(ranked), 100 * float(ranked.gap.mean())
    low, high = 100 * band.overconfidence_low, 100 * band.overconfidence_high
    return (
        f"{TITLES[prefix]}: {verdict(ranked, band)}\n"
        f"ECE {error:.1f} % (chance: to {100 * band.ece_high:.1f}), "
        f"gap {gap:.1f} % ({low:.1f} to {high:.1f})"
    )
