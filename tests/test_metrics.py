"""Metrics: closed forms, edge cases, and independent implementations."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from xent_bench.metrics.accuracy import accuracy, hits
from xent_bench.metrics.calibration import ece
from xent_bench.metrics.proper_scores import brier, nll
from xent_bench.metrics.score import score, score_outputs
from xent_bench.metrics.temperature import BOUNDS, fit_temperature, scale


@pytest.fixture
def outputs(rng):
    """1,000 over-confident examples of ten classes."""
    logits = 4 * torch.randn(1000, 10, generator=rng, dtype=torch.float64)
    sampled = torch.multinomial((logits / 2).softmax(dim=1), 1, generator=rng).squeeze(1)
    return logits, sampled


def test_accuracy_agrees_with_torchmetrics(outputs):
    logits, target = outputs
    found = accuracy(logits, target)

    for k in (1, 5):
        oracle = multiclass_accuracy(logits, target, 10, average="micro", top_k=k)
        assert found[f"top{k}"] == pytest.approx(oracle.item(), abs=1e-6)


def test_ties_are_worth_the_chance_of_breaking_them_rightly():
    constant = torch.zeros(1, 10)

    assert hits(constant, torch.tensor([7]), 1).item() == pytest.approx(0.1)
    assert hits(constant, torch.tensor([7]), 5).item() == pytest.approx(0.5)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_top5_is_absent_below_five_classes(classes):
    log_p = torch.zeros(4, classes).log_softmax(dim=1)

    assert "top5" not in score(log_p, torch.zeros(4, dtype=torch.long))


def test_nll_is_exact_at_extreme_confidence():
    log_p = torch.tensor([[-1e4, 0.0]], dtype=torch.float64)

    assert nll(log_p, torch.tensor([0])) == 1e4
    assert nll(log_p, torch.tensor([1])) == 0


def test_nll_is_infinite_where_the_true_class_had_no_chance():
    log_p = torch.tensor([[0.0, -math.inf]])

    assert score(log_p, torch.tensor([1]))["nll"] == math.inf


def test_brier_is_the_squared_distance_to_one_hot(outputs):
    logits, target = outputs
    expected = (logits.softmax(dim=1) - F.one_hot(target, 10)).square().sum(dim=1).mean()

    assert brier(logits.log_softmax(dim=1), target) == pytest.approx(expected.item())


def test_ece_agrees_with_torchmetrics_where_no_confidence_is_on_an_edge(outputs):
    logits, target = outputs
    probabilities = logits.softmax(dim=1)
    oracle = multiclass_calibration_error(probabilities, target, 10, n_bins=15, norm="l1")

    assert ece(probabilities.log(), target) == pytest.approx(oracle.item(), abs=1e-6)


def test_ece_of_constant_confidence_is_its_distance_from_accuracy():
    log_p = torch.tensor([[0.8, 0.2]] * 10, dtype=torch.float64).log()
    target = torch.tensor([0] * 6 + [1] * 4)

    assert ece(log_p, target) == pytest.approx(0.2)


def test_bins_are_closed_on_the_right_and_certainty_is_in_the_last_one():
    # of 5 bins: 0.6 belongs to (0.4, 0.6], so these two examples do not share a bin
    log_p = torch.tensor([[0.6, 0.4], [0.61, 0.39]], dtype=torch.float64).log()
    target = torch.tensor([0, 1])
    assert ece(log_p, target, bins=5) == pytest.approx((0.4 + 0.61) / 2)

    certain = torch.tensor([[0.0, -math.inf], [math.log(0.95), math.log(0.05)]]).double()
    assert ece(certain, torch.tensor([0, 1])) == pytest.approx(abs((1 - 1 + 0 - 0.95) / 2))


def test_a_log_probability_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        score(torch.full((2, 3), math.nan), torch.tensor([0, 1]))


def test_without_probabilities_only_accuracy_is_reported(outputs):
    logits, target = outputs

    assert score_outputs(logits, None, target).keys() == {"top1", "top5"}


def test_the_temperature_minimises_nll(outputs):
    logits, target = outputs
    oracle = minimize_scalar(
        lambda t: nll(scale(logits, t), target), bounds=(0.1, 10), options={"xatol": 1e-10}
    )

    assert fit_temperature(logits, target) == pytest.approx(oracle.x, rel=1e-6)
    assert fit_temperature(logits, target) == pytest.approx(2, rel=0.2)  # as it was drawn


@pytest.mark.parametrize("factor", [0.1, 0.5, 3.0])
def test_the_temperature_scales_with_the_logits(outputs, factor):
    logits, target = outputs

    expected = factor * fit_temperature(logits, target)
    assert fit_temperature(factor * logits, target) == pytest.approx(expected, rel=1e-9)


def test_scaling_keeps_top1(outputs):
    logits, target = outputs
    scaled = scale(logits, fit_temperature(logits, target))

    assert accuracy(scaled, target) == accuracy(logits, target)


def test_a_temperature_without_optimum_ends_on_its_bound():
    logits = torch.eye(3)

    assert fit_temperature(logits, torch.tensor([0, 1, 2])) == BOUNDS[0]
    assert fit_temperature(logits, torch.tensor([1, 2, 0])) == BOUNDS[1]
