"""The correction for other class frequencies: fitted as SciPy fits, and true in simulation."""

from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from xent_bench.calibrators import prior_correction
from xent_bench.calibrators.prior_correction import PriorCorrection, correct, fit_correction
from xent_bench.calibrators.temperature import fit_temperature, scale
from xent_bench.evaluation.evaluate import evaluate
from xent_bench.evaluation.scorecard import scorecard
from xent_bench.failures import DataError
from xent_bench.links import margin, normalised_softmax, softmax
from xent_bench.metrics.score import score
from xent_bench.runs.predictions import Predicted, Predictions, load, save
from xent_bench.runs.result import Run

C = 10
EVEN = np.full(C, 1 / C)
TAIL = 100 ** (-np.arange(C) / (C - 1))
TAIL /= TAIL.sum()
COUNTS = 5000 * TAIL
# what the outputs lack of train's class frequencies, as a power, and how much too sharp they are
CE, OVERFITTED, BALANCED, BETWEEN = (0.0, 1.0), (0.0, 2.5), (1.0, 1.5), (0.4, 1.5)


def world(n: int, prior: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes of this prior, and log p(x|y) of normal features of theirs for every class."""
    rng = np.random.default_rng(seed)
    centres = 1.2 * np.random.default_rng(0).normal(size=(C, 6))
    target = rng.choice(C, size=n, p=prior)
    x = centres[target] + rng.normal(size=(n, 6))
    return target, -np.square(x[:, None] - centres).sum(axis=2) / 2


def outputs(log_likelihood: np.ndarray, kind: tuple[float, float]) -> np.ndarray:
    """Outputs of a net that knows p(x|y), trained with a loss of this kind."""
    lacking, sharpness = kind
    return sharpness * (log_likelihood + (1 - lacking) * np.log(TAIL))


def calib_of(kind: tuple[float, float], prior: np.ndarray = TAIL, n: int = 2000, seed: int = 1):
    target, log_likelihood = world(n, prior, seed)
    return Predicted("calib", outputs(log_likelihood, kind), target, np.arange(n))


def nll(log_p: np.ndarray, target: np.ndarray) -> float:
    return float(-log_p[np.arange(len(target)), target].mean())


@pytest.mark.parametrize("prior", [TAIL, EVEN], ids=["natural", "balanced"])
@pytest.mark.parametrize("kind", [CE, OVERFITTED, BALANCED, BETWEEN])
def test_it_finds_the_truth_whatever_the_loss_and_whatever_calib_has(kind, prior):
    calib = calib_of(kind, prior)
    target, log_likelihood = world(20_000, EVEN, 2)
    fitted = prior_correction.fit(
        calib, softmax, train_counts=COUNTS, test_counts=np.bincount(target).astype(float)
    )
    numbers = prior_correction.numbers(fitted)
    found, truth = fitted(outputs(log_likelihood, kind)), log_softmax(log_likelihood, axis=1)

    assert numbers["/prior_exponent"] == pytest.approx(kind[0], abs=0.08)
    assert numbers["/temperature"] == pytest.approx(kind[1], rel=0.06)
    assert nll(found, target) < nll(truth, target) + 0.002
    assert np.mean(found.argmax(axis=1) == truth.argmax(axis=1)) > 0.98


@pytest.mark.parametrize("kind", [CE, BALANCED])
def test_its_probabilities_hold_for_whatever_frequencies_test_has(kind):
    reversed_tail = TAIL[::-1]
    target, log_likelihood = world(20_000, reversed_tail, 2)
    fitted = prior_correction.fit(
        calib_of(kind), softmax, train_counts=COUNTS, test_counts=20_000 * reversed_tail
    )
    truth = log_softmax(log_likelihood + np.log(reversed_tail), axis=1)

    assert nll(fitted(outputs(log_likelihood, kind)), target) < nll(truth, target) + 0.003


def test_the_plain_formula_corrects_twice_what_a_loss_has_corrected():
    target, log_likelihood = world(20_000, EVEN, 2)
    truth = nll(log_softmax(log_likelihood, axis=1), target)

    def plain(kind: tuple[float, float]) -> float:
        t = fit_temperature(calib_of(kind), softmax).value
        log_p = scale(outputs(log_likelihood, kind), link=softmax, temperature=t)
        return nll(log_softmax(log_p - np.log(TAIL) + np.log(EVEN), axis=1), target)

    assert plain(CE) == pytest.approx(truth, abs=0.002)
    assert plain(BALANCED) > truth + 0.4


def test_without_an_exponent_it_is_the_plain_formula():
    z = calib_of(CE).outputs
    fitted = PriorCorrection(temperature=1.0, exponent=0.0, exponent_error=0.1)
    found = correct(z, link=softmax, fitted=fitted, shift=np.log(EVEN) - np.log(TAIL))

    expected = np.exp(softmax(z)) * EVEN / TAIL
    np.testing.assert_allclose(np.exp(found), expected / expected.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("link", [softmax, margin, partial(normalised_softmax, tau=0.2)])
@pytest.mark.parametrize("prior", [TAIL, EVEN], ids=["natural", "balanced"])
def test_the_fit_is_that_of_another_minimiser(link, prior):
    calib = calib_of(BETWEEN, prior, n=400)
    found = fit_correction(calib, link, COUNTS)
    u = calib.outputs if link in (softmax, margin) else link(calib.outputs)
    t = fit_temperature(calib, link).value
    frequency = np.bincount(calib.target, minlength=C) / len(calib.target)
    if 0 in frequency:
        frequency = (frequency * 400 + 0.5) / (400 + C / 2)

    def objective(parameters: np.ndarray) -> float:
        s, a = parameters
        logits = s * u / t + (a - 1) * np.log(TAIL) + np.log(frequency)
        log_p = logits - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1))[:, None]
        log_p -= logits.max(1, keepdims=True)
        return 400 * nll(log_p, calib.target) + (s - 1) ** 2 / 2 + (a - 0.5) ** 2 / 2

    oracle = minimize(objective, [1.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7})
    assert found.temperature == pytest.approx(t / oracle.x[0], rel=1e-4)
    assert found.exponent == pytest.approx(oracle.x[1], abs=1e-4)


@pytest.mark.parametrize("kind", [CE, BALANCED])
def test_the_error_of_the_exponent_is_its_spread_over_calib_splits(kind):
    found = [
        fit_correction(calib_of(kind, n=1000, seed=seed), softmax, COUNTS) for seed in range(60)
    ]

    spread = np.std([fitted.exponent for fitted in found], ddof=1)
    assert np.mean([fitted.exponent_error for fitted in found]) == pytest.approx(spread, rel=0.3)


def test_one_hot_rows_are_corrected_as_their_classes_are():
    calib = calib_of(BETWEEN)
    one_hot = calib._replace(target=np.eye(C)[calib.target])

    expected = fit_correction(calib, softmax, COUNTS)
    assert fit_correction(one_hot, softmax, COUNTS) == pytest.approx(expected)


def test_where_calib_leaves_the_temperature_open_that_of_temperature_scaling_is_kept():
    target = np.arange(60) % C
    z = 8 * np.eye(C)[target] + np.random.default_rng(0).normal(size=(60, C))
    calib = Predicted("calib", z, target, np.arange(60))
    assert fit_temperature(calib, softmax).at_bound
    found = fit_correction(calib, softmax, COUNTS)

    assert found.temperature == fit_temperature(calib, softmax).value
    assert 0 <= found.exponent <= 1
    assert found.exponent_error > 0


def test_equal_classes_in_train_and_test_leave_temperature_scaling():
    target, log_likelihood = world(3000, EVEN, 3)
    calib = Predicted("calib", 2 * log_likelihood, target, np.arange(3000))
    even = np.full(C, 300.0)
    found = prior_correction.fit(calib, softmax, train_counts=even, test_counts=even)
    tempered = scale(calib.outputs, link=softmax, temperature=fit_temperature(calib, softmax).value)

    # but for the chance frequencies of classes on calib, which it takes into account
    np.testing.assert_allclose(np.exp(found(calib.outputs)), np.exp(tempered), atol=0.02)


def test_where_nothing_tells_the_exponent_its_error_is_that_of_not_knowing():
    fitted = fit_correction(calib_of(CE), softmax, np.full(C, 300.0))

    assert fitted.exponent == pytest.approx(0.5)
    assert fitted.exponent_error == pytest.approx(1)


def test_a_class_without_an_image_keeps_a_finite_probability():
    calib = calib_of(CE, n=100)
    assert 0 in np.bincount(calib.target, minlength=C)
    test_counts = np.r_[np.full(C - 1, 50.0), 0]
    fitted = prior_correction.fit(calib, softmax, train_counts=COUNTS, test_counts=test_counts)

    assert np.isfinite(fitted(calib.outputs)).all()
    np.testing.assert_allclose(np.exp(fitted(calib.outputs)).sum(axis=1), 1)


def test_fitting_on_anything_but_calib_is_an_error():
    test = calib_of(CE)._replace(split="test")
    with pytest.raises(ValueError, match="expected outputs on calib, got those on test"):
        prior_correction.fit(test, softmax, train_counts=COUNTS, test_counts=COUNTS)


def test_a_fit_that_did_not_reach_its_optimum_is_refused(monkeypatch):
    monkeypatch.setitem(prior_correction.PRECISE, "maxiter", 1)

    with pytest.raises(ValueError, match="prior correction found no optimum"):
        fit_correction(calib_of(BALANCED), softmax, COUNTS)


def both(train_counts: np.ndarray | None) -> Predictions:
    """Predictions of a net trained with ce on the long tail, and scored where classes are even."""
    target, log_likelihood = world(1000, EVEN, 2)
    test = Predicted("test", outputs(log_likelihood, CE), target, np.arange(1000))
    names = tuple("abcdefghij")
    return Predictions(calib_of(CE), test, partial(softmax), names, train_counts=train_counts)


def test_it_is_reported_by_itself_where_class_frequencies_differ_and_nowhere_else():
    tail, even, unknown = (evaluate(both(c)).metrics for c in (COUNTS, np.full(C, 9.0), None))

    assert tail["test_pc/nll"] < tail["test_ts/nll"] - 0.3
    assert tail["test_pc/top1"] > tail["test/top1"] + 0.05
    assert {"test_pc_se/nll", "test_pc_null/p", "test_pc_se/prior_exponent"} <= tail.keys()
    assert even == unknown
    assert not [key for key in even if "pc" in key or "prior" in key or "few" in key]
    assert unknown.items() <= tail.items()


def test_asked_for_by_name_it_is_fitted_to_classes_of_one_size_too():
    metrics = evaluate(both(np.full(C, 9.0)), ["prior_correction"]).metrics

    assert "test_pc/top1" in metrics
    assert "test/top1_few" not in metrics


def test_predictions_without_the_class_sizes_of_train_are_refused():
    with pytest.raises(DataError, match=r"^prior_correction needs .* no train_counts"):
        evaluate(both(None), ["prior_correction"])


def test_its_probabilities_are_scored_as_those_of_any_other_calibrator():
    predictions = both(COUNTS)
    metrics = evaluate(predictions).metrics
    test_counts = np.bincount(predictions.test.target).astype(float)
    fitted = prior_correction.fit(
        predictions.calib, softmax, train_counts=COUNTS, test_counts=test_counts
    )

    expected = score(fitted(predictions.test.outputs), predictions.test.target)
    assert {key: metrics[f"test_pc/{key}"] for key in expected} == pytest.approx(expected)


def test_the_scorecard_says_what_was_fitted():
    evaluation = evaluate(both(COUNTS))
    params = {"loss": "ce", "data": "tail", "model": "linear", "seed": 0}
    run = Run("ce-s0", "x", params, evaluation.metrics, evaluation.words, "xent-train", 1000, 1.0)
    table = scorecard(run)
    notes = " ".join(table.notes)

    assert table.headings[-1] == "prior\ncorrection\n± SE"
    assert "softmax(z / T + (a - 1) log pi_train + log pi_test)" in notes
    assert f"a = {evaluation.metrics['test_pc/prior_exponent']:.2f} ± " in notes
    rows = {row[0]: row[2:] for row in table.rows}
    assert rows["top1_few %"][0] != "-"
    assert rows["nll_train_prior"][-1] == "-"  # it is made for test's frequencies


def test_class_sizes_come_back_as_they_were_saved(tmp_path):
    save(both(COUNTS), tmp_path / "predictions.npz")
    save(both(None), tmp_path / "without.npz")

    assert np.array_equal(load(tmp_path / "predictions.npz").train_counts, COUNTS)
    assert load(tmp_path / "without.npz").train_counts is None
    with np.load(tmp_path / "without.npz") as stored:
        assert "train_counts" not in stored


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [
        (COUNTS[1:], r"float64 of shape \(10,\), got float64 of shape \(9,\)"),
        (COUNTS.astype(int), "got int64"),
        (-COUNTS, "numbers of images, of at least 0"),
        (np.zeros(C), "numbers of images"),
        (COUNTS * np.nan, "numbers of images"),
    ],
)
def test_damaged_class_sizes_get_one_line(tmp_path, counts, complaint):
    save(both(COUNTS)._replace(train_counts=counts), tmp_path / "predictions.npz")

    with pytest.raises(DataError, match=f"train_counts: expected .*{complaint}"):
        load(tmp_path / "predictions.npz")
