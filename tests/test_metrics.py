"""Accuracy, proper scores and the list of them: closed forms, edge cases, other implementations."""

import math
from statistics import fmean

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, log_loss
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_accuracy

from xent_bench.calibrators import temperature
from xent_bench.links import margin, sigmoid, simplex, softmax
from xent_bench.metrics.by_class import by_class_size
from xent_bench.metrics.examples import BLOCK, examine, hits
from xent_bench.metrics.parts import calibration_part_errors, calibration_parts
from xent_bench.metrics.reported import BAND, METRICS, PREFIXES, TESTED
from xent_bench.metrics.score import score
from xent_bench.metrics.train_prior import under_train_prior
from xent_bench.metrics.truth import against_truth
from xent_bench.metrics.uncertainty import NullBand, standard_errors
from xent_bench.runs.predictions import Predicted

CALIBRATION = {
    *("ece", "ece_equal_mass", "ece_classwise", "ece_debiased", "mce", "smece", "ks"),
    *("confidence", "overconfidence", "entropy"),
}


@pytest.fixture
def outputs():
    """1,000 over-confident examples of ten classes."""
    rng = np.random.default_rng(0)
    logits = 4 * rng.normal(size=(1000, 10))
    return logits, (logits / 2 + rng.gumbel(size=logits.shape)).argmax(axis=1)


def test_every_metric_that_is_computed_has_a_row_and_every_row_is_computed(outputs):
    logits, target = outputs
    soft = np.exp(softmax(logits / 2))
    of_hard_labels, of_soft_labels = score(logits, target), score(logits, soft)
    truth = against_truth(logits, soft, softmax)
    examples, tail = examine(logits, target, softmax), 2.0 ** np.arange(10)
    by_size = by_class_size(examples, tail) | under_train_prior(examples, tail)
    parts = calibration_parts(examples, examples)

    computed = of_soft_labels.keys() | truth.keys() | by_size.keys() | parts.keys()
    assert computed == METRICS.keys()
    assert {k for k, row in METRICS.items() if row.needs_class_sizes} == by_size.keys()
    of_val = {name: row for name, row in METRICS.items() if "val" in row.prefixes}
    assert of_val.keys() == of_soft_labels.keys()
    assert {k for k, row in of_val.items() if not row.needs_soft_labels} == of_hard_labels.keys()
    assert [row.name for row in METRICS.values()] == list(METRICS)


def test_the_other_names_that_are_reported_are_those_that_are_computed():
    assert (*NullBand._fields, "p") == BAND
    assert {"test", *PREFIXES.values()} == set(TESTED)


def test_accuracy_agrees_with_torchmetrics(outputs):
    logits, target = outputs
    found = score(logits, target)

    for k in (1, 5):
        oracle = multiclass_accuracy(
            torch.tensor(logits), torch.tensor(target), 10, average="micro", top_k=k
        )
        assert found[f"top{k}"] == pytest.approx(oracle.item(), abs=1e-6)
    answer = logits.argmax(axis=1)
    assert found["balanced_top1"] == pytest.approx(balanced_accuracy_score(target, answer))


def test_proper_scores_agree_with_scikit_learn(outputs):
    logits, target = outputs
    found = score(logits, target)
    p = np.exp(softmax(logits))

    assert found["nll"] == pytest.approx(log_loss(target, p), rel=1e-12)
    assert found["brier"] == pytest.approx(
        brier_score_loss(target, p, labels=range(10), scale_by_half=False), rel=1e-12
    )
    entropy = torch.distributions.Categorical(torch.tensor(p)).entropy().mean()
    assert found["entropy"] == pytest.approx(entropy.item(), rel=1e-12)


def test_nll_is_exact_at_extreme_confidence():
    logits = np.array([[-1e4, 0.0], [800.0, 0.0]])

    assert score(logits, np.array([0, 0]))["nll"] == 5e3


def test_ties_are_worth_the_chance_of_breaking_them_rightly():
    constant = np.zeros((1, 10))

    assert hits(constant, np.array([7]), [1, 5])[0][0] == pytest.approx(0.1)
    assert hits(constant, np.array([7]), [1, 5])[1][0] == pytest.approx(0.5)
    assert score(constant, np.array([7]))["ties"] == 1


def test_nothing_depends_on_the_order_of_classes_or_examples_even_if_all_tie():
    rng = np.random.default_rng(0)
    logits = rng.integers(3, size=(300, 6)).astype(float)
    target = rng.integers(6, size=300)
    classes, order = rng.permutation(6), rng.permutation(300)

    straight = score(logits, target)
    assert straight["ties"] > 0.5
    permuted = score(logits[order][:, classes.argsort()], classes[target[order]])
    assert permuted == pytest.approx(straight, abs=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_top5_is_absent_below_five_classes(classes):
    found = score(np.zeros((4, classes)), np.zeros(4, dtype=int))

    assert "top5" not in found
    assert "top1" in found


def test_only_what_needs_no_probabilities_is_reported_of_a_margin_loss(outputs):
    found = score(*outputs, margin)

    assert found.keys() == {
        *("top1", "top5", "ties", "balanced_top1"),
        *("aurc", "eaurc", "auroc_correct", "augrc"),
        *("risk_at_80", "risk_at_90", "risk_at_95"),
    }


def test_outputs_are_read_by_the_link_and_accuracy_from_the_outputs(outputs):
    logits, target = outputs
    found = {link.__name__: score(logits, target, link) for link in (softmax, sigmoid, simplex)}

    assert len({each["brier"] for each in found.values()}) == 3
    assert len({each["top5"] for each in found.values()}) == 1
    assert found["simplex"]["nll"] == math.inf  # it gave some true class probability 0


def test_blocks_of_rows_change_nothing(outputs, monkeypatch):
    logits, target = outputs
    assert logits.size < BLOCK
    whole = score(logits, target)
    monkeypatch.setattr("xent_bench.metrics.examples.BLOCK", 70)

    assert score(logits, target) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("link", [softmax, sigmoid, simplex, margin])
def test_a_single_example_has_scores_and_one_alone_no_standard_error(n, link):
    logits, target = np.array([[2.0, 1.0, 0.0]] * n), np.arange(n)
    found = score(logits, target, link)

    assert all(math.isfinite(value) for key, value in found.items() if key != "nll")
    assert ("ece_debiased" in found, "auroc_correct" in found) == (False, n == 2)
    assert bool(standard_errors(examine(logits, target, link))) == (n == 2)


def test_a_class_without_an_example_does_not_count():
    logits = np.eye(4)[[0, 0, 1]]

    found = score(logits, np.array([0, 1, 1]))
    assert found["balanced_top1"] == pytest.approx((1 + 0.5) / 2)
    assert "balanced_top1" not in standard_errors(examine(logits, np.array([0, 1, 1]), softmax))


def test_all_right_is_perfect():
    found = score(1000 * np.eye(7), np.arange(7))

    for key in ("nll", "brier", "entropy", "ece", "smece", "ks", "mce", "aurc", "eaurc"):
        assert found[key] == 0, key
    assert "auroc_correct" not in found
    assert found["top1"] == found["confidence"] == 1


@pytest.mark.parametrize("target", [np.arange(7), np.eye(7)], ids=["hard", "soft"])
def test_a_certain_right_answer_costs_nothing_and_not_minus_nothing(target):
    nll = examine(1000 * np.eye(7), target, softmax).probabilistic.nll

    assert nll.tolist() == [0] * 7
    assert not np.signbit(nll).any()


def test_all_wrong_at_confidence_one_in_float32_is_the_worst():
    logits = np.eye(6, dtype=np.float32) * np.float32(200)
    found = score(np.tile(logits, (10, 1)), np.tile(np.roll(np.arange(6), 1), 10))

    assert found["nll"] == 200
    assert found["brier"] == 2
    for key in ("ece", "mce", "ks", "smece", "ece_equal_mass", "ece_debiased", "overconfidence"):
        assert found[key] == pytest.approx(1), key
    assert found["ece_classwise"] == pytest.approx(2 / 6)
    assert found["aurc"] == 1
    assert found["eaurc"] == 0


def test_a_thousand_classes_and_two_are_scored():
    rng = np.random.default_rng(0)
    for classes in (2, 1000):
        logits = rng.normal(size=(500, classes)).astype(np.float32)
        found = score(logits, rng.integers(classes, size=500))

        assert found.keys() >= CALIBRATION | {"nll", "brier", "aurc"}
        assert all(math.isfinite(value) for value in found.values())


def test_a_log_probability_of_minus_infinity_costs_only_the_true_class():
    log_p = np.array([[0.0, -math.inf], [-math.inf, 0.0]])

    assert score(log_p, np.array([0, 1]))["nll"] == 0
    assert score(log_p, np.array([0, 0]))["nll"] == math.inf
    assert score(log_p, np.array([0, 0]))["entropy"] == 0


@pytest.mark.parametrize(
    ("logits", "link"),
    [
        (np.full((2, 3), math.nan), softmax),
        (np.full((2, 3), math.inf), margin),
        (np.zeros((2, 3)), lambda outputs: outputs + math.nan),
    ],
)
def test_what_is_no_number_is_refused(logits, link):
    with pytest.raises(ValueError, match=r"NaN|finite"):
        score(logits, np.array([0, 1]), link)


@pytest.mark.parametrize("target", [np.array([0, 3]), np.array([0, -100])])
def test_a_target_that_does_not_fit_is_refused(target):
    with pytest.raises(ValueError, match="targets from 0 to 2"):
        score(np.zeros((2, 3)), target)


def test_brier_is_the_squared_distance_from_the_one_hot_vector(outputs):
    logits, target = outputs
    p = torch.tensor(logits).softmax(dim=1)
    expected = (p - F.one_hot(torch.tensor(target), 10)).square().sum(dim=1).mean()

    assert score(logits, target)["brier"] == pytest.approx(expected.item(), rel=1e-12)


def test_outputs_that_are_log_probabilities_are_left_as_they_are():
    log_p = np.log([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    kept = log_p.copy()
    found = score(log_p, np.array([0, 1]), lambda outputs: outputs)

    assert found == pytest.approx(score(log_p, np.array([0, 1])))
    assert found["confidence"] == pytest.approx(0.6)
    assert np.array_equal(log_p, kept)


def test_the_calibration_parts_are_what_scaling_takes_away_image_by_image(outputs):
    logits, target = outputs
    raw, scaled = (examine(factor * logits, target, softmax) for factor in (1.0, 0.5))
    parts, errors = calibration_parts(raw, scaled), calibration_part_errors(raw, scaled)
    q = np.eye(10)[target]
    log_p, log_p_scaled = softmax(logits), softmax(logits / 2)
    nll = (q * (log_p_scaled - log_p)).sum(axis=1)
    brier = np.square(np.exp(log_p) - q).sum(axis=1) - np.square(np.exp(log_p_scaled) - q).sum(
        axis=1
    )

    assert parts == pytest.approx(
        {"nll_calibration": nll.mean(), "brier_calibration": brier.mean()}
    )
    for name, values in (("nll_calibration", nll), ("brier_calibration", brier)):
        assert errors[name] == pytest.approx(values.std(ddof=1) / 1000**0.5)
    assert calibration_parts(examine(logits, target, margin), scaled) == {}


def test_an_nll_without_bound_has_a_calibration_part_without_bound_and_no_error(outputs):
    logits, target = outputs
    raw, scaled = examine(logits, target, simplex), examine(logits / 2, target, softmax)

    assert calibration_parts(raw, scaled)["nll_calibration"] == math.inf
    assert calibration_part_errors(raw, scaled).keys() == {"brier_calibration"}


def test_the_calibration_part_of_a_net_with_a_known_temperature_is_at_most_the_true_one():
    """Labels are drawn from softmax(z): what is lost at 2 z is known, and T = 2 is fitted anew."""
    rng = np.random.default_rng(0)
    parts, truths = [], []
    for _ in range(200):
        z = 2 * rng.normal(size=(700, 5))
        target = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
        calib = Predicted("calib", 2 * z[:200], target[:200], np.arange(200))
        raw, best = (examine(factor * z[200:], target[200:], softmax) for factor in (2, 1))
        scaled = examine(2 * z[200:], target[200:], temperature.fit(calib, softmax))
        parts.append(calibration_parts(raw, scaled)["nll_calibration"])
        truths.append(calibration_parts(raw, best)["nll_calibration"])

    shortfall = np.array(truths) - parts
    assert shortfall.mean() > 0
    # a fitted number costs 1 / (2 n) nats on fresh images: Akaike, 1974
    assert shortfall.mean() == pytest.approx(1 / 400, rel=0.35)
    assert fmean(parts) > 0.1
