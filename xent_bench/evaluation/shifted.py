"""Scores under shift and on foreign images, from the outputs that were kept in a run's folder.

Everything is computed from the outputs as they are kept, so that a rescoring gives the same numbers
to the last bit. PyTorch is not needed.
"""

from functools import partial
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import numpy as np
from scipy.special import entr, logsumexp

from xent_bench.arrays import Outputs, Target, Values
from xent_bench.calibrators.temperature import scale
from xent_bench.links import BoundLink, Link, softmax
from xent_bench.metrics.detection import detection
from xent_bench.metrics.examples import Examples, examine
from xent_bench.metrics.score import means, ranked_metrics
from xent_bench.metrics.shifts import FIFTEEN, FOREIGN, MEAN, SCORES, SEVERITIES, SHIFT, SHIFT_TS
from xent_bench.metrics.shifts import condition as named
from xent_bench.runs import files
from xent_bench.runs.kept_outputs import IMAGES, ORIGIN, kept_in, kept_outputs
from xent_bench.runs.predictions import Predictions

BLOCK = 2**17  # outputs at a time, as in `examine`


class Shifted(NamedTuple):
    """Numbers of a net on other images than test's, by their keys, and tags that say which."""

    metrics: dict[str, float]
    tags: dict[str, str]


def shifted(folder: Path, predictions: Predictions, temperature: float) -> Shifted:
    """Compute every score of the outputs that a run's folder keeps; empty if it keeps none.

    `temperature` is the one fitted on calib, whose images are clean. DataError for a file that is
    damaged or of another net.
    """
    shift, foreign = folder / files.SHIFT, folder / files.FOREIGN
    tags = {}
    if images := kept_in(shift).texts.get(IMAGES):
        tags["shift_images"] = images
    for name, text in kept_in(foreign).texts.items():
        if name.startswith(ORIGIN):
            tags[f"{FOREIGN}_{name.removeprefix(ORIGIN)}"] = text
    metrics = shift_scores(shift, predictions, temperature)
    return Shifted(metrics | foreign_scores(foreign, predictions), tags)


def shift_scores(file: Path, predictions: Predictions, temperature: float) -> dict[str, float]:
    """Scores under each corruption at each severity that is kept, and means over the fifteen."""
    test, link = predictions.test, predictions.link
    scaled = partial(scale, link=link, temperature=temperature)
    metrics: dict[str, float] = {}
    for condition, outputs in kept_outputs(file, *test.outputs.shape[::-1]):
        for prefix, reading in ((SHIFT, link), (SHIFT_TS, scaled)):
            for score, value in _scores(outputs, test.target, reading, SCORES[prefix]).items():
                metrics[f"{prefix}/{condition}/{score}"] = value
    return metrics | _means(metrics)


def foreign_scores(file: Path, predictions: Predictions) -> dict[str, float]:
    """Scores of the detection of each foreign set that is kept, for each certainty of the loss."""
    metrics: dict[str, float] = {}
    of_test = None
    for name, outputs in kept_outputs(file, len(predictions.classes)):
        if of_test is None:
            of_test = certainties(predictions.test.outputs, predictions.link)
        for certainty, values in certainties(outputs, predictions.link).items():
            scores = detection(of_test[certainty], values)._asdict()
            metrics |= {f"{FOREIGN}/{name}/{key}_{certainty}": scores[key] for key in scores}
    return metrics


def certainties(outputs: Outputs, link: BoundLink) -> dict[str, Values]:
    """Numbers of each image that are larger the more certain the net is, in float64.

    `margin`, the largest output minus the second, and `output`, the largest, exist for every loss;
    `confidence`, the probability of the answer, and `entropy`, minus the entropy of the
    probabilities in nats, where the link gives probabilities; `energy`, log sum exp of the outputs
    (Liu et al., 2020, arXiv:2010.03759, with T = 1), where the outputs are logits of softmax.
    """
    rows = max(1, BLOCK // outputs.shape[1])
    blocks = [
        _certainties(outputs[start : start + rows].astype(np.float64), link)
        for start in range(0, len(outputs), rows)
    ]
    return {key: np.concatenate([block[key] for block in blocks]) for key in blocks[0]}


def _certainties(outputs: Outputs, link: BoundLink) -> dict[str, Values]:
    second, largest = np.partition(outputs, -2, axis=1)[:, -2:].T
    values = {"margin": largest - second, "output": largest}
    log_p = link(outputs)
    if log_p is not None:
        p = np.exp(log_p)
        answer = outputs.argmax(axis=1)[:, None]
        values["confidence"] = np.take_along_axis(p, answer, axis=1)[:, 0]
        values["entropy"] = -entr(p).sum(axis=1)
    if link.func is softmax:
        values["energy"] = logsumexp(outputs, axis=1)
    return values


def _scores(
    outputs: Outputs, target: Target, link: Link, wanted: tuple[str, ...]
) -> dict[str, float]:
    """The scores of these names, as far as they exist for this link."""
    examples: Examples = examine(outputs, target, link)
    values = {name: float(of_each.mean()) for name, of_each in means(examples).items()}
    functions, ranked = ranked_metrics(examples), examples.ranked
    for name in wanted:
        if name in functions and (value := functions[name](ranked)) is not None:
            values[name] = float(value)
    return {name: values[name] for name in wanted if name in values}


def _means(metrics: dict[str, float]) -> dict[str, float]:
    """Means over the fifteen corruptions: at each severity that all have, and over all of these.

    The mean of fewer corruptions is not the same number, and there is none of that name.
    """
    by_key: dict[str, float] = {}
    for prefix, scores in SCORES.items():
        for score in scores:
            for severity in SEVERITIES:
                keys = [f"{prefix}/{named(name, severity)}/{score}" for name in FIFTEEN]
                if all(key in metrics for key in keys):
                    mean = fmean(metrics[key] for key in keys)
                    by_key[f"{prefix}/{named(MEAN, severity)}/{score}"] = mean
            severe = [f"{prefix}/{named(MEAN, severity)}/{score}" for severity in SEVERITIES]
            if all(key in by_key for key in severe):
                by_key[f"{prefix}/{MEAN}/{score}"] = fmean(by_key[key] for key in severe)
    return by_key
