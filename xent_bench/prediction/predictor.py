"""A net that predicts: its outputs, and the log-probabilities that they become."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from xent_bench.arrays import LogProbabilities, Outputs, Target
from xent_bench.calibrators.temperature import dividend, scale
from xent_bench.failures import DataError, Unavailable, UsageError
from xent_bench.runs.files import PREDICTIONS
from xent_bench.runs.predictions import Predictions
from xent_bench.runs.predictions import load as load_predictions
from xent_bench.trained_net import TrainedNet, load
from xent_bench.trained_net.record import NetRecord


class Predictor(Protocol):
    """One net, or several that predict together; outputs have a row for each image."""

    @property
    def record(self) -> NetRecord:
        """The record of the net, which says what images it takes."""

    def outputs(self, images: Tensor) -> np.ndarray:
        """Outputs in float64: (n, c) of one net, (n, members, c) of an ensemble."""

    def log_p(self, outputs: np.ndarray) -> LogProbabilities:
        """Log-probabilities (n, c) that the outputs become."""


@dataclass(frozen=True)
class OneNet:
    """A trained net, with its temperature or as trained."""

    net: TrainedNet
    is_raw: bool = False

    @property
    def record(self) -> NetRecord:
        """The record of the net, which says what images it takes."""
        return self.net.record

    def outputs(self, images: Tensor) -> np.ndarray:
        """The net's raw outputs."""
        return self.net.outputs(images).numpy().astype(np.float64)

    def log_p(self, outputs: np.ndarray) -> LogProbabilities:
        """Log-probabilities as `TrainedNet` gives them for these outputs."""
        scaled = partial(scale, link=self.net.link, temperature=self.record.temperature)
        with np.errstate(invalid="ignore", divide="ignore"):  # as in evaluation
            log_p = self.net.link(outputs) if self.is_raw else scaled(outputs)
        assert log_p is not None  # `one_net` refuses a net without
        result: LogProbabilities = log_p
        return result

    def dividend(self, outputs: np.ndarray) -> Outputs:
        """The array that a temperature divides."""
        result: Outputs = dividend(outputs, self.net.link)
        return result


def one_net(folder: Path, *, device: str | None = None, is_raw: bool = False) -> OneNet:
    """Load the net of a run's folder.

    Raises as `trained_net.load` does; Unavailable for a device that is not there; UsageError for
    probabilities as trained where the loss has none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise Unavailable("--device cuda: expected a GPU that PyTorch can use, found none")
    net = load(folder, device=device)
    if is_raw and net.link(np.zeros((1, len(net.classes)))) is None:
        name = str(net.record.loss.get("_target_", "")).rpartition(".")[2]
        raise UsageError(
            f"--raw: the outputs of {name} are scores and no probabilities; only calibrated ones "
            "exist, which a temperature makes of them: leave --raw out"
        )
    return OneNet(net, is_raw)


def stored_predictions(folder: Path, net: OneNet) -> Predictions:
    """The predictions of the net's run on calib and test. DataError if they are of another net."""
    predictions = load_predictions(folder / PREDICTIONS)
    if predictions.classes != net.net.classes:
        raise DataError(
            f"{folder / PREDICTIONS} has other classes than the net beside it: expected "
            f"{len(net.net.classes)} from {net.net.classes[0]} on"
        )
    return predictions


def version_lines(record: NetRecord) -> list[str]:
    """A sentence that says that the net was trained with another PyTorch, if it was."""
    before, now = record.versions.get("torch", ""), str(torch.__version__)
    if not before or before.partition("+")[0] == now.partition("+")[0]:
        return []
    return [
        f"The net was trained with PyTorch {before}, and this is {now}: the last digits of "
        "probabilities may differ."
    ]


def scored(log_p: LogProbabilities, target: Target) -> dict[str, float]:
    """The scores of predictions: top1, nll (nats) and ece, as a run's test has them."""
    from xent_bench.metrics.score import score

    metrics = score(log_p, target)
    return {name: metrics[name] for name in ("top1", "nll", "ece")}
