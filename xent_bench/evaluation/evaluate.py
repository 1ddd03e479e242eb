"""Every number about a trained net, from its predictions: as trained, and after calibration."""

from collections.abc import Collection, Mapping
from functools import partial
from importlib import import_module
from typing import NamedTuple

import numpy as np

from xent_bench.arrays import Outputs, is_soft
from xent_bench.calibrators.temperature import (
    Temperature,
    dividend,
    fit_temperature,
    scale,
    scales_outputs,
)
from xent_bench.evaluation.recipe import recipe_draws
from xent_bench.links import BoundLink, Link, softmax
from xent_bench.metrics.examples import Examples, examine
from xent_bench.metrics.reported import PREFIXES, RECIPE
from xent_bench.metrics.score import summary
from xent_bench.metrics.truth import against_truth
from xent_bench.metrics.uncertainty import NullDraws, null_draws, standard_errors, verdict
from xent_bench.runs.predictions import Predictions


class Evaluation(NamedTuple):
    """Numbers by key: test/ece, test_se/ece (its standard error), test_null/ece_high (what a
    calibrated net may show). Words: test_verdict, link, scaled_map. And what they are made of.

    `test_ts` judges one net with its temperature; `test_ts_recipe` the recipe, a temperature fitted
    anew, which misses the best one by chance.
    """

    metrics: dict[str, float]
    words: dict[str, str]
    readings: dict[str, Examples]  # the test split by prefix


def evaluate(predictions: Predictions, calibrators: Collection[str] = ()) -> Evaluation:
    """Every number on test: as trained, with a temperature fitted on calib, and with other
    calibrators named; where p(y|x) is known, against it too (test/true_kl).
    """
    link, classes = predictions.link, predictions.classes
    fitted = fit_temperature(predictions.calib, link)
    metrics = {
        "test_ts/temperature": fitted.value,
        "test_ts/temperature_at_bound": float(fitted.at_bound),
    }
    if fitted.error is not None:
        metrics["test_ts_se/temperature"] = fitted.value * fitted.error
    words = {"link": link.func.__name__, "scaled_map": scaled_map(link, len(classes))}
    read = {}
    for prefix, (outputs, reading) in _mapped(predictions, fitted, calibrators).items():
        read[prefix] = examine(outputs, predictions.test.target, reading)
        metrics |= _measure(read[prefix], prefix)
        if predictions.posterior is not None:
            true = against_truth(outputs, predictions.posterior, reading)
            metrics |= {f"{prefix}/{key}": value for key, value in true.items()}
    numbers, verdicts = judge(predictions, fitted, read)
    return Evaluation(metrics | numbers, words | verdicts, read)


def judge(
    predictions: Predictions, fitted: Temperature, read: Mapping[str, Examples]
) -> tuple[dict[str, float], dict[str, str]]:
    """Say for each prefix what a calibrated net may show, and whether this one shows more."""
    draws = {
        prefix: null_draws(examples.ranked)
        for prefix, examples in read.items()
        if examples.probabilistic is not None
    }
    metrics: dict[str, float] = {}
    verdicts: dict[str, str] = {}
    for prefix, shown in (draws | {RECIPE: _recipe_draws(predictions, fitted)}).items():
        band, ranked = shown.band(), read["test_ts" if prefix == RECIPE else prefix].ranked
        numbers = {**band._asdict(), "p": shown.p(ranked)}
        metrics |= {f"{prefix}_null/{key}": value for key, value in numbers.items()}
        verdicts[f"{prefix}_verdict"] = verdict(ranked, band)
    return metrics, verdicts


def readings(
    predictions: Predictions, fitted: Temperature, calibrators: Collection[str] = ()
) -> dict[str, Examples]:
    """The test split by prefix: read by the loss's link, and by each calibrator."""
    return {
        prefix: examine(outputs, predictions.test.target, link)
        for prefix, (outputs, link) in _mapped(predictions, fitted, calibrators).items()
    }


def _mapped(
    predictions: Predictions, fitted: Temperature, calibrators: Collection[str]
) -> dict[str, tuple[Outputs, Link]]:
    """Outputs on test, and the link that reads them, by prefix."""
    calib, test, link = predictions.calib, predictions.test, predictions.link
    scaled = partial(scale, link=link, temperature=fitted.value)
    maps: dict[str, tuple[Outputs, Link]] = {
        "test": (test.outputs, link),
        "test_ts": (test.outputs, scaled),
    }
    for name in calibrators:
        if name != "temperature":
            # imported here: scikit-learn takes a second
            module = import_module(f"xent_bench.calibrators.{name}")
            log_p = module.fit(calib, link)(test.outputs.astype(np.float64))
            # it may order the classes otherwise than the outputs: its own answers count
            maps[PREFIXES[name]] = (log_p, softmax)
    return maps


def scaled_map(link: BoundLink, classes: int) -> str:
    """What temperature scaling does, in words."""
    by_outputs = scales_outputs(link, classes)
    return "softmax(z / T)" if by_outputs else "softmax(log p / T)"


def _measure(examples: Examples, prefix: str) -> dict[str, float]:
    metrics = {f"{prefix}/{key}": value for key, value in summary(examples).items()}
    return metrics | {
        f"{prefix}_se/{key}": value for key, value in standard_errors(examples).items()
    }


def _recipe_draws(predictions: Predictions, fitted: Temperature) -> NullDraws:
    calib, test = (
        dividend(part.outputs.astype(np.float64), predictions.link)
        for part in (predictions.calib, predictions.test)
    )
    return recipe_draws(calib, test, fitted, soft=is_soft(predictions.test.target))
