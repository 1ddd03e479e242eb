"""An ensemble: the seeds of a loss, whose calibrated probabilities are averaged and scaled again.

Lakshminarayanan et al., 2017, arXiv:1612.01474. Averaging makes probabilities flatter, so that
calibrated members make an ensemble that is not sure enough (Rahaman and Thiery, 2021,
arXiv:2007.08792): it needs a temperature of its own. Seeds draw their own train, val and calib, so
that an image which one member never saw was trained on by another; the temperature is fitted only
on those that are in val or calib of every member.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np
from scipy.special import log_softmax, logsumexp
from torch import Tensor

from xent_bench.arrays import Labels, LogProbabilities, Target
from xent_bench.calibrators.temperature import fit_temperature
from xent_bench.failures import DataError
from xent_bench.links import softmax
from xent_bench.prediction.data_sets import ImagesToPredict, splits_of
from xent_bench.prediction.predictor import OneNet, one_net, scored, stored_predictions
from xent_bench.runs.predictions import Predicted
from xent_bench.runs.result import Run
from xent_bench.tables import Table
from xent_bench.trained_net.record import NetRecord


@dataclass(frozen=True)
class HeldOut:
    """Images that no member was trained on: averaged log-probabilities before T, and labels."""

    log_p: LogProbabilities
    target: Target


@dataclass(frozen=True)
class Ensemble:
    """Nets with the same classes and size of images, and the temperature of their average."""

    members: tuple[OneNet, ...]
    folders: tuple[Path, ...]
    temperature: float = 1.0
    held: HeldOut | None = None
    line: str = ""  # how the temperature came about

    @property
    def record(self) -> NetRecord:
        """The record of the first member; all take the same images."""
        return self.members[0].record

    def outputs(self, images: Tensor) -> np.ndarray:
        """The outputs of the members, (n, members, c)."""
        return np.stack([member.outputs(images) for member in self.members], axis=1)

    def log_p(self, outputs: np.ndarray) -> LogProbabilities:
        """log softmax(a / T), with a the log of the mean of the members' probabilities."""
        by_member = [member.log_p(outputs[:, k]) for k, member in enumerate(self.members)]
        return self.scaled(averaged(by_member))

    def scaled(self, log_mean: LogProbabilities) -> LogProbabilities:
        """The averaged log-probabilities after the ensemble's temperature."""
        result: LogProbabilities = log_softmax(log_mean / self.temperature, axis=1)
        return result


def averaged(log_p: Sequence[LogProbabilities]) -> LogProbabilities:
    """The log of the mean of the members' probabilities."""
    result: LogProbabilities = logsumexp(np.stack(log_p), axis=0) - np.log(len(log_p))
    return result


def ensemble(runs: Sequence[Run], device: str | None) -> Ensemble:
    """Load the seeds of a loss, and fit the temperature where there are images for it.

    DataError for a single seed, and for members that were tested on different images.
    """
    folders = tuple(run.folder for run in runs if run.folder is not None)
    if len(folders) < 2:
        raise DataError(
            f"expected two seeds at least for an ensemble, got one finished: {folders[0]}"
        )
    members = tuple(one_net(folder, device=device) for folder in folders)
    for member, folder in zip(members, folders, strict=True):
        first = members[0].net
        if (member.net.classes, member.record.shape) != (first.classes, first.record.shape):
            raise DataError(f"{folder} has other classes or images than {folders[0]}")
    together = Ensemble(members, folders)
    try:
        held = _held(together)
    except (DataError, OSError) as error:
        return replace(together, line=_unfitted(f"the data cannot be read again ({error})"))
    if held is None:
        return replace(together, line=_unfitted("every image was in train of some member"))
    calib = Predicted("calib", held.log_p, held.target, np.arange(len(held.target)))
    fitted = fit_temperature(calib, softmax)
    n = f"{len(held.target):,} image{'s' * (len(held.target) != 1)}"
    if fitted.at_bound:
        reason = f"the {n} that no member was trained on do not determine one"
        return replace(together, held=held, line=_unfitted(reason))
    line = (
        f"Members' calibrated probabilities are averaged and scaled by T = {fitted.value:.3f}, "
        f"fitted on {n} that no member was trained on."
    )
    return replace(together, temperature=fitted.value, held=held, line=line)


def _unfitted(reason: str) -> str:
    return (
        f"Members' calibrated probabilities are averaged, without a temperature of the ensemble: "
        f"{reason}."
    )


def _held(together: Ensemble) -> HeldOut | None:
    """Predict the images that are in val or calib of every member; None if there is none."""
    ids, sets = [], []
    for folder in together.folders:
        data, splits = splits_of(folder)
        ids.append(np.union1d(splits.val.numpy(), splits.calib.numpy()))
        sets.append(data)
    in_all: Labels = reduce(np.intersect1d, ids)
    if not len(in_all):
        return None
    import torch

    words = "images that no member was trained on"
    images = ImagesToPredict(sets[0], torch.from_numpy(in_all), words)
    parts, places, start = [], [], 0
    for batch in images.batches(together.record):
        n = len(batch.names.files)
        good = [start + k for k in range(n) if k not in batch.names.errors]
        start += n
        places += good
        if good:
            parts.append(together.log_p(together.outputs(batch.images)))
    target: Target = sets[0].labels[images.ids].numpy()[places]
    return HeldOut(np.concatenate(parts), target) if parts else None


def scores_table(together: Ensemble, seeds: Sequence[int]) -> Table:
    """The scores on test of the ensemble beside those of its members. DataError if tests differ."""
    by_member, rows = [], []
    first = stored_predictions(together.folders[0], together.members[0]).test
    for seed, member, folder in zip(seeds, together.members, together.folders, strict=True):
        test = stored_predictions(folder, member).test
        if not (np.array_equal(test.id, first.id) and np.array_equal(test.target, first.target)):
            raise DataError(f"{folder} was tested on other images than {together.folders[0]}")
        log_p = member.log_p(test.outputs.astype(np.float64))
        rows.append((f"seed {seed}", scored(log_p, test.target)))
        by_member.append(log_p)
    rows.append(("ensemble", scored(together.scaled(averaged(by_member)), first.target)))
    return Table(
        f"On test (n = {len(first.target):,}), calibrated",
        ("", "top-1", "NLL", "ECE"),
        [[name, f"{s['top1']:.4f}", f"{s['nll']:.4f}", f"{s['ece']:.4f}"] for name, s in rows],
        ["One ensemble: whether another would differ as much was not tested."],
    )
