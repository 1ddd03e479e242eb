"""Calibration and ranking: closed forms, other implementations, and simulated truth."""

import math
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

import calibration as uncertainty_calibration
import netcal.metrics as netcal
import numpy as np
import pytest
import relplot
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score
from torchmetrics.functional.classification import binary_calibration_error

from xent_bench.data.synthetic import posterior, synthetic
from xent_bench.links import softmax
from xent_bench.metrics.calibration import ece, ece_debiased, ece_equal_mass, ks, mce
from xent_bench.metrics.examples import examine
from xent_bench.metrics.ranked import rank
from xent_bench.metrics.ranking import augrc, aurc, auroc_correct, eaurc, risk_at, risks
from xent_bench.metrics.reliability import confusion_matrix, reliability, top_confusions
from xent_bench.metrics.score import score, summary
from xent_bench.metrics.smooth import smece, smece_at
from xent_bench.metrics.uncertainty import null_band, standard_errors, verdict

N = 3000


@pytest.fixture(scope="module")
def answers():
    """Confidence and whether it was right, of an over-confident model."""
    rng = np.random.default_rng(0)
    confidence = rng.random(N) ** 0.3
    return confidence, (rng.random(N) < confidence**1.4).astype(float)


# --- other implementations


def test_binned_errors_agree_with_netcal_and_torchmetrics(answers):
    confidence, correct = answers
    ranked = rank(confidence, correct)

    assert ece(ranked) == pytest.approx(netcal.ECE(15).measure(confidence, correct), abs=1e-12)
    assert mce(ranked) == pytest.approx(netcal.MCE(15).measure(confidence, correct), abs=1e-12)
    oracle = binary_calibration_error(*map(torch.tensor, (confidence, correct.astype(int))), 15)
    assert ece(ranked) == pytest.approx(oracle.item(), abs=1e-6)  # it works in float32


def test_torchmetrics_gives_certainty_a_bin_of_its_own_and_so_another_error():
    confidence, correct = np.array([1.0, 0.95]), np.array([0.0, 1.0])
    oracle = binary_calibration_error(*map(torch.tensor, (confidence, correct.astype(int))), 15)

    assert ece(rank(confidence, correct)) == pytest.approx(abs(1 + 0.95 - 1) / 2)
    assert oracle.item() == pytest.approx((1 + 0.05) / 2)


def test_the_debiased_error_agrees_with_its_authors_package(answers):
    confidence, correct = answers
    bins = uncertainty_calibration.get_equal_bins(confidence, 15)
    data = list(zip(confidence, correct, strict=True))
    oracle = uncertainty_calibration.unbiased_l2_ce(uncertainty_calibration.bin(data, bins))

    assert ece_debiased(rank(confidence, correct)) == pytest.approx(oracle, rel=1e-9)


def test_bins_of_equal_mass_are_split_as_numpy_splits(answers):
    confidence, correct = (values[: N - 7] for values in answers)
    gap = (confidence - correct)[confidence.argsort()]
    expected = sum(abs(part.sum()) for part in np.array_split(gap, 15)) / len(gap)

    assert ece_equal_mass(rank(confidence, correct)) == pytest.approx(expected)


def test_smooth_error_is_the_integral_and_near_relplot(answers):
    confidence, correct = answers
    t = np.linspace(0, 1, 2001)
    for sigma in (0.01, 0.05, 0.3):
        gaps = np.zeros_like(t)
        for image in (confidence, -confidence, 2 - confidence):  # reflected at 0 and at 1
            gaps += norm.pdf(t[:, None], image, sigma) @ (correct - confidence) / N
        exact = np.trapezoid(np.abs(gaps), t)

        assert smece_at(rank(confidence, correct), sigma) == pytest.approx(exact, abs=2e-5)
        # relplot integrates by a mean over points, of which those at the ends count double
        assert relplot.smECE_sigma(confidence, correct, sigma) == pytest.approx(exact, rel=0.02)


def test_the_smooth_error_is_its_own_width(answers):
    ranked = rank(*answers)
    found = smece(ranked)

    assert smece_at(ranked, found) == pytest.approx(found, abs=1e-8)
    assert found == pytest.approx(relplot.smECE(*answers), rel=0.02)


def test_ks_is_the_largest_distance_between_two_cumulated_curves(answers):
    confidence, correct = answers
    order = confidence.argsort()
    distance = np.cumsum(confidence[order] - correct[order]) / N

    assert ks(rank(confidence, correct)) == pytest.approx(np.abs(distance).max())


def test_the_classwise_error_is_that_of_each_class_against_the_rest():
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(1000, 5))
    target = rng.integers(5, size=1000)
    p = np.exp(softmax(logits))
    each = [ece(rank(p[:, k], (target == k).astype(float))) for k in range(5)]

    assert score(logits, target)["ece_classwise"] == pytest.approx(np.mean(each), rel=1e-12)


def test_ranking_agrees_with_scikit_learn_and_with_its_definition(answers):
    confidence, correct = answers
    ranked = rank(confidence, correct)
    wrong = 1 - correct[(-confidence).argsort()]
    expected = np.mean([wrong[:k].mean() for k in range(1, N + 1)])

    assert auroc_correct(ranked) == pytest.approx(roc_auc_score(correct, confidence), rel=1e-12)
    assert aurc(ranked) == pytest.approx(expected, rel=1e-12)
    risk = 1 - correct.mean()
    best = risk + (1 - risk) * math.log(1 - risk)
    assert aurc(ranked) - eaurc(ranked) == pytest.approx(best, abs=1 / N)


@pytest.fixture(scope="module")
def torch_uncertainty():
    """Its file on risk and coverage; the package as a whole needs another copy of Lightning."""
    (folder,) = find_spec("torch_uncertainty").submodule_search_locations
    file = Path(folder) / "metrics/classification/risk_coverage.py"
    spec = spec_from_file_location("torch_uncertainty_risk_coverage", file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generalised_risk_and_risk_at_a_coverage_agree_with_torch_uncertainty(
    answers, torch_uncertainty
):
    """It begins its trapezia at coverage 1 / n, and divides by their width."""
    confidence, correct = answers
    ranked = rank(confidence, correct)
    p = np.append(
        confidence[:, None], np.repeat((1 - confidence[:, None]) / 99, 99, axis=1), axis=1
    )
    oracles = torch_uncertainty.AUGRC(), torch_uncertainty.RiskAtxCov(0.9)
    for oracle in oracles:
        oracle.update(torch.tensor(p), torch.tensor(1 - correct))

    expected = float(oracles[0].compute()) * (1 - 1 / N)
    first = (1 - correct[confidence.argmax()]) / (2 * N**2)
    assert augrc(ranked) == pytest.approx(expected + first, rel=1e-9)
    assert risk_at(0.9, ranked) == pytest.approx(float(oracles[1].compute()), rel=1e-6)


@pytest.mark.parametrize("decimals", [1, 12])
def test_the_generalised_risk_is_the_known_function_of_error_and_auroc(answers, decimals):
    """Traub et al., 2024, equation 8, with ties and without."""
    confidence, correct = answers
    ranked = rank(confidence.round(decimals), correct)
    r, area = 1 - correct.mean(), auroc_correct(ranked)

    assert augrc(ranked) == pytest.approx((1 - area) * r * (1 - r) + r**2 / 2, rel=1e-12)


def test_the_risk_at_a_coverage_is_that_of_the_most_certain():
    ranked = rank(np.arange(20.0), np.repeat([0.0, 1.0], 10))

    assert [risk_at(share, ranked) for share in (0.5, 0.55, 0.8, 0.95, 1.0)] == pytest.approx(
        [0, 1 / 11, 6 / 16, 9 / 19, 0.5]
    )
    assert risk_at(0.8, rank(np.zeros(10), np.repeat([0.0, 1.0], 5))) == 0.5  # a tie is shared


# --- closed forms


def test_constant_confidence_errs_by_its_distance_from_accuracy():
    ranked = rank(np.full(100, 0.8), np.repeat([1.0, 0.0], [60, 40]))

    for metric in (ece, ece_equal_mass, mce, ks):
        assert metric(ranked) == pytest.approx(0.2), metric
    assert smece(ranked) == pytest.approx(0.2, abs=1e-3)
    assert auroc_correct(ranked) == pytest.approx(0.5)
    assert risks(ranked) == pytest.approx(np.full(100, 0.4))


def test_bins_are_closed_on_the_right_and_certainty_is_in_the_last_one():
    # of 5 bins: 0.6 belongs to (0.4, 0.6], so these two examples do not share a bin
    apart = rank(np.array([0.6, 0.61]), np.array([1.0, 0.0]))
    assert ece(apart, bins=5) == pytest.approx((0.4 + 0.61) / 2)

    together = rank(np.array([1.0, 0.95]), np.array([1.0, 0.0]))
    assert ece(together) == pytest.approx(0.95 / 2)


def test_equal_confidences_share_their_errors_whatever_their_order():
    confidence = np.repeat([0.7, 0.9], 50)
    correct = np.tile([1.0, 1.0, 0.0, 1.0, 0.0], 20)
    shuffled = np.random.default_rng(0).permutation(100)

    for metric in (
        ece,
        ece_equal_mass,
        ece_debiased,
        mce,
        smece,
        ks,
        aurc,
        eaurc,
        augrc,
        auroc_correct,
    ):
        straight = metric(rank(confidence, correct))
        assert metric(rank(confidence[shuffled], correct[shuffled])) == straight, metric


def test_a_best_order_has_no_excess_and_a_worst_one_a_rank_of_zero():
    certainty = np.arange(10.0)

    assert eaurc(rank(certainty, (certainty > 3).astype(float))) == 0
    assert auroc_correct(rank(certainty, (certainty > 3).astype(float))) == 1
    assert auroc_correct(rank(certainty, (certainty < 3).astype(float))) == 0


def test_a_reliability_diagram_adds_up_to_the_error(answers):
    ranked = rank(*answers)
    found = reliability(ranked)

    gaps = np.abs(found.accuracy - found.confidence) * found.n / N
    assert gaps.sum() == pytest.approx(ece(ranked))
    assert found.n.sum() == N
    assert (found.low <= found.accuracy).all()
    assert (found.accuracy <= found.high).all()
    assert (found.null_low <= found.confidence + 1e-9).all()
    assert (found.confidence <= found.null_high + 1e-9).all()


def test_confusions_are_counted_by_true_class_and_answer():
    logits = np.eye(3)[[0, 1, 1, 2, 0]]
    examples = examine(logits, np.array([0, 0, 0, 2, 1]), softmax)
    matrix = confusion_matrix(examples, 3)

    assert matrix.tolist() == [[1, 2, 0], [1, 0, 0], [0, 0, 1]]
    assert top_confusions(matrix, 5) == [(0, 1, 2), (1, 0, 1)]
    assert top_confusions(matrix, 1) == [(0, 1, 2)]


# --- simulated truth: the synthetic set, whose p(y | x) is known


@pytest.fixture(scope="module")
def truth():
    """p(y | x) of 2,000 images of ten classes that overlap."""
    made = {"n": 2000, "classes": 10, "noise": 6.0}
    return posterior(synthetic(**made).images, **made).numpy()


def drawn(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.minimum((rng.random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1), p.shape[1] - 1)


def test_the_posterior_of_a_pixel_is_how_often_the_classes_have_it():
    made = {"n": 400_000, "classes": 2, "noise": 1.0}
    data = synthetic(**made, size=1)
    shades = torch.arange(256, dtype=torch.uint8)[:, None, None, None]
    counts = torch.zeros(256, 2).index_put_(
        (data.images.flatten().long(), data.labels), torch.ones(()), accumulate=True
    )
    p = posterior(shades, **made)
    n = counts.sum(dim=1)
    seen = n > 500

    assert seen.sum() > 100
    error = (counts[:, 0] / n - p[:, 0])[seen] / (p[:, 0] * p[:, 1] / n).sqrt()[seen]
    assert error.abs().max() < 4.5
    assert error.square().mean() == pytest.approx(1, abs=0.4)


def test_the_posterior_is_calibrated_and_the_best_there_is():
    made = {"n": 4000, "classes": 10, "noise": 6.0}
    data = synthetic(**made)
    log_p, target = posterior(data.images, **made).log().numpy(), data.labels.numpy()
    ranked = examine(log_p, target, softmax).ranked

    assert verdict(ranked, null_band(ranked)) == "within noise"
    sharper, flatter = (score(factor * log_p, target) for factor in (1.2, 0.8))
    assert score(log_p, target)["nll"] < min(sharper["nll"], flatter["nll"])


def test_the_null_band_holds_95_of_100_calibrated_models(truth):
    rng = np.random.default_rng(0)
    confidence, answer = truth.max(axis=1), truth.argmax(axis=1)
    band = null_band(rank(confidence, confidence))
    answers = [(drawn(truth, rng) == answer) * 1.0 for _ in range(2000)]
    found = [ece(rank(confidence, each)) for each in answers]

    verdicts = [verdict(rank(confidence, each), band) for each in answers]
    assert 0.93 <= np.mean([each == "within noise" for each in verdicts]) <= 0.99
    inside = np.mean([band.ece_low <= error <= band.ece_high for error in found])
    assert 0.93 <= inside <= 0.97
    assert band.ece_mean == pytest.approx(np.mean(found), rel=0.03)


def test_a_calibrated_model_shows_an_error_of_some_tenths_of_a_per_cent():
    rng = np.random.default_rng(0)
    certain = 1 / (1 + np.exp(-5.2 - 2.5 * rng.normal(size=10_000)))
    assert certain.mean() == pytest.approx(0.95, abs=0.01)

    assert null_band(rank(certain, certain)).ece_mean == pytest.approx(0.0045, abs=0.001)


@pytest.mark.parametrize(
    ("power", "expected"),
    [(1.0, "within noise"), (2.0, "over-confident"), (0.5, "under-confident")],
)
def test_the_verdict_tells_in_which_direction_confidence_errs(truth, power, expected):
    logits = power * np.log(truth)
    ranked = examine(logits, drawn(truth, np.random.default_rng(1)), softmax).ranked

    assert verdict(ranked, null_band(ranked)) == expected


def test_errors_in_both_directions_get_a_verdict_of_their_own():
    confidence = np.repeat([0.6, 0.9], 2000)
    correct = np.concatenate([np.arange(2000) < 1800, np.arange(2000) < 1200]) * 1.0
    ranked = rank(confidence, correct)

    assert verdict(ranked, null_band(ranked)) == "mixed"


def test_the_true_error_of_a_sharpened_posterior_is_estimated_and_the_noise_taken_out(truth):
    rng = np.random.default_rng(0)
    sharpened = np.exp(softmax(1.3 * np.log(truth)))
    confidence, answer = sharpened.max(axis=1), sharpened.argmax(axis=1)
    known = rank(confidence, truth.max(axis=1))  # the chance of being right, in place of being so
    labels = [drawn(truth, rng) for _ in range(400)]
    found = [rank(confidence, (label == answer) * 1.0) for label in labels]

    plugged_in = np.mean([ece(each) for each in found])
    assert ece(known) < plugged_in < ece(known) + null_band(known).ece_mean
    # squared, since the root of an unbiased square is biased; accuracies of p, not of 0 and 1
    parts = [np.array_split(each.gap, 15) for each in (known, *found)]
    gaps = [np.array([part.mean() for part in each]) for each in parts]
    true, *naive = (float((gap**2).mean()) for gap in gaps)
    debiased = [ece_debiased(each) ** 2 for each in found]
    noise = np.std(debiased) / len(found) ** 0.5
    assert abs(np.mean(debiased) - true) < 4 * noise
    assert np.mean(naive) - true > 10 * noise


# with many equal confidences, where a bootstrap errs on the side of caution, and without
@pytest.mark.parametrize(("decimals", "tolerance"), [(1, 0.4), (12, 0.25)])
def test_standard_errors_are_the_spread_over_fresh_test_sets(truth, decimals, tolerance):
    rng = np.random.default_rng(0)
    logits = np.log(np.maximum(np.exp(softmax(1.5 * np.log(truth))).round(decimals), 1e-3))

    def fresh():
        rows = rng.integers(len(truth), size=800)
        return examine(logits[rows], drawn(truth[rows], rng), softmax)

    sets = [fresh() for _ in range(200)]
    scores = [summary(each) for each in sets]
    claimed = [standard_errors(each) for each in sets[:10]]

    for key in claimed[0].keys() - {"ties"}:
        spread = np.std([each[key] for each in scores])
        assert np.mean([each[key] for each in claimed]) == pytest.approx(spread, rel=tolerance), key
    assert scores[0].keys() - claimed[0].keys() == {"mce", "ece_classwise"}


def test_a_saturated_net_that_is_always_right_is_calibrated_within_noise():
    for doubt in (1e-16, 1e-12, 1e-7):
        ranked = rank(1 - doubt * np.random.default_rng(0).random(359), np.ones(359))

        assert verdict(ranked, null_band(ranked)) == "within noise"


def test_the_verdict_does_not_depend_on_ties():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(50):
        confidence = np.repeat([0.6, 0.9], 500)
        correct = (rng.random(1000) < 0.75) * 1.0
        jitter = 1e-6 * rng.random(1000)
        each = [rank(confidence + shift, correct) for shift in (0, jitter)]
        found.append([verdict(ranked, null_band(ranked)) for ranked in each])

    same = np.mean([tied == apart for tied, apart in found])
    assert same > 0.9
    assert np.mean([tied == "mixed" for tied, _ in found]) > 0.8


def test_a_gap_that_the_ece_cannot_see_is_seen_in_its_sum():
    """Three errors where eleven were to be expected, spread over several bins."""
    rng = np.random.default_rng(0)
    confidence = np.append(np.full(300, 0.995), rng.uniform(0.6, 0.95, 59))
    correct = np.ones(359)
    correct[[0, 300, 320]] = 0
    ranked = rank(confidence, correct)
    band = null_band(ranked)

    assert verdict(ranked, band) == "under-confident"
    assert ks(ranked) > -band.overconfidence_low
