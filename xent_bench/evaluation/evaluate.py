"""Every number about a trained net, from its stored predictions: before and after calibration."""

from collections.abc import Collection, Mapping
from functools import partial
from importlib import import_module
from inspect import signature
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from xent_bench.arrays import Outputs, is_divided, is_soft
from xent_bench.calibrators.temperature import (
    Temperature,
    dividend,
    fit_temperature,
    scale,
    scales_outputs,
)
from xent_bench.evaluation.by_subgroup import by_subgroup
from xent_bench.evaluation.class_sizes import by_class_sizes, counts_of_test, has_other_prior
from xent_bench.evaluation.recipe import recipe_draws
from xent_bench.failures import DataError
from xent_bench.links import BoundLink, Link, softmax
from xent_bench.metrics.examples import Examples, examine
from xent_bench.metrics.parts import calibration_part_errors, calibration_parts
from xent_bench.metrics.ranked import Ranked
from xent_bench.metrics.reported import PREFIXES, RECIPE
from xent_bench.metrics.score import summary
from xent_bench.metrics.truth import against_truth
from xent_bench.metrics.uncertainty import (
    Consistent,
    NullDraws,
    consistent,
    null_draws,
    standard_errors,
    verdict,
)
from xent_bench.offer import offer
from xent_bench.runs.predictions import Predictions


class Mapped(NamedTuple):
    """The outputs on test, the link that reads them, and what was fitted for it."""

    outputs: Outputs
    link: Link
    fitted: Mapping[str, float] = MappingProxyType({})  # by the key that follows the prefix


class Evaluation(NamedTuple):
    """Everything about a trained net's outputs on test, before and after calibration.

    `test_ts_verdict` judges this net with its fitted temperature. `test_ts_recipe_verdict` judges
    the recipe: a temperature that is fitted anew, and so misses the best one by chance.
    """

    # test/ece; test_se/ece, its standard error; test_null/ece_high, what a calibrated net may show
    metrics: dict[str, float]
    words: dict[str, str]  # test_verdict, link, scaled_map
    readings: dict[str, Examples]  # the numbers of each test example, by prefix
    bins: dict[str, Consistent]  # right answers of a calibrated net, where there are probabilities


def evaluate(predictions: Predictions, calibrators: Collection[str] = ()) -> Evaluation:
    """Compute every number on test: as trained, after temperature scaling, after `calibrators`.

    Calibrators are fitted on calib. Where p(y|x) is known, the metrics against it are added. The
    prior correction is among the calibrators wherever class frequencies of train and test differ.
    DataError if a calibrator needs the class sizes of train, and the predictions lack them.
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
    if is_divided(predictions.test.target) and not is_divided(predictions.calib.target):
        words["calib_labels"] = "one class each"
    by_prefix = {}
    for prefix, (outputs, reading, values) in mapped(predictions, fitted, calibrators).items():
        metrics |= {f"{prefix}{key}": value for key, value in values.items()}
        by_prefix[prefix] = examine(outputs, predictions.test.target, reading)
        metrics |= measured(by_prefix[prefix], prefix)
        metrics |= by_class_sizes(by_prefix[prefix], prefix, predictions)
        if predictions.posterior is not None:
            against = against_truth(outputs, predictions.posterior, reading)
            metrics |= {f"{prefix}/{key}": value for key, value in against.items()}
    metrics |= _parts(by_prefix["test"], by_prefix["test_ts"])
    if predictions.subgroups is not None:
        of_groups, names = by_subgroup(predictions.subgroups, by_prefix)
        metrics, words = metrics | of_groups, words | names
    bins = bins_of(by_prefix)
    numbers, verdicts = judge(predictions, fitted, by_prefix, bins)
    return Evaluation(metrics | numbers, words | verdicts, by_prefix, bins)


def bins_of(by_prefix: Mapping[str, Examples]) -> dict[str, Consistent]:
    """The bins of each reading that has probabilities, with draws of a calibrated net."""
    return {
        prefix: consistent(examples.ranked)
        for prefix, examples in by_prefix.items()
        if examples.probabilistic is not None
    }


def judge(
    predictions: Predictions,
    fitted: Temperature,
    by_prefix: Mapping[str, Examples],
    bins: Mapping[str, Consistent],
) -> tuple[dict[str, float], dict[str, str]]:
    """Compute what a calibrated net may show, and say whether this one shows more; by prefix.

    Returns the numbers under `PREFIX_null` and the verdicts.
    """
    draws = {
        prefix: null_draws(by_prefix[prefix].ranked, of_prefix)
        for prefix, of_prefix in bins.items()
    }
    metrics: dict[str, float] = {}
    verdicts: dict[str, str] = {}
    for prefix, shown in (draws | {RECIPE: _recipe_draws(predictions, fitted)}).items():
        ranked = by_prefix["test_ts" if prefix == RECIPE else prefix].ranked
        numbers, word = against_chance(ranked, shown)
        metrics |= {f"{prefix}_null/{key}": value for key, value in numbers.items()}
        verdicts[f"{prefix}_verdict"] = word
    return metrics, verdicts


def against_chance(ranked: Ranked, draws: NullDraws) -> tuple[dict[str, float], str]:
    """Numbers of the band of a calibrated net, with the p value of this one, and the verdict."""
    band = draws.band()
    return {**band._asdict(), "p": draws.p(ranked)}, verdict(ranked, band)


def readings(
    predictions: Predictions, fitted: Temperature, calibrators: Collection[str] = ()
) -> dict[str, Examples]:
    """The numbers of each test example, as trained and after each calibrator; by prefix."""
    return {
        prefix: examine(outputs, predictions.test.target, link)
        for prefix, (outputs, link, _) in mapped(predictions, fitted, calibrators).items()
    }


def mapped(
    predictions: Predictions, fitted: Temperature, calibrators: Collection[str]
) -> dict[str, Mapped]:
    """The outputs on test, as trained and after each calibrator, with their link; by prefix."""
    test, link = predictions.test, predictions.link
    scaled = partial(scale, link=link, temperature=fitted.value)
    maps = {"test": Mapped(test.outputs, link), "test_ts": Mapped(test.outputs, scaled)}
    by_itself = ["prior_correction"] if has_other_prior(predictions) else []
    for name in dict.fromkeys([*calibrators, *by_itself]):
        if name != "temperature":
            maps[PREFIXES[name]] = _calibrated(predictions, name)
    return maps


def _calibrated(predictions: Predictions, name: str) -> Mapped:
    """Fit a calibrator on calib, and apply it to test."""
    # imported here: scikit-learn takes a second
    module = import_module(f"xent_bench.calibrators.{name}")
    if "train_counts" in signature(module.fit).parameters and predictions.train_counts is None:
        raise DataError(
            f"{name} needs the number of images of each class in train, and predictions.npz has "
            "no train_counts: its run was trained by an earlier version, or on classes of about "
            "one size, where there is nothing to correct; to have it all the same, train the run "
            f"again under another name, with calibrator={name}"
        )
    fit = offer(
        module.fit, train_counts=predictions.train_counts, test_counts=counts_of_test(predictions)
    )
    calibrated = fit(predictions.calib, predictions.link)
    numbers = getattr(module, "numbers", None)  # of those that have some to report
    # a calibrator may reorder the classes: its answers count, not those of the outputs
    log_p = calibrated(predictions.test.outputs.astype(np.float64))
    return Mapped(log_p, softmax, numbers(calibrated) if numbers else {})


def scaled_map(link: BoundLink, classes: int) -> str:
    """The formula of temperature scaling for this link, as text."""
    by_outputs = scales_outputs(link, classes)
    return "softmax(z / T)" if by_outputs else "softmax(log p / T)"


def measured(examples: Examples, prefix: str) -> dict[str, float]:
    """Every metric under `PREFIX/`, and their standard errors under `PREFIX_se/`."""
    metrics = {f"{prefix}/{key}": value for key, value in summary(examples).items()}
    return metrics | {
        f"{prefix}_se/{key}": value for key, value in standard_errors(examples).items()
    }


def _parts(raw: Examples, scaled: Examples) -> dict[str, float]:
    """The calibration parts of NLL and Brier score as trained, and their standard errors."""
    parts, errors = calibration_parts(raw, scaled), calibration_part_errors(raw, scaled)
    metrics = {f"test/{name}": value for name, value in parts.items()}
    return metrics | {f"test_se/{name}": value for name, value in errors.items()}


def _recipe_draws(predictions: Predictions, fitted: Temperature) -> NullDraws:
    test, link = predictions.test.outputs, predictions.link
    if not scales_outputs(link, test.shape[1]):
        test = dividend(test.astype(np.float64), link)  # else they are read a block at a time
    calib = dividend(predictions.calib.outputs.astype(np.float64), link)
    return recipe_draws(calib, test, fitted, soft=is_soft(predictions.test.target))
