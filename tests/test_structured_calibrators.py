"""Structured vector and matrix scaling, and Dirichlet calibration: optima, oracles, edges."""

import sys
import types
import warnings
from functools import partial

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from xent_bench.calibrators import affine, dirichlet, structured_matrix, structured_vector
from xent_bench.calibrators.affine import Affine, Penalty, apply, fit_affine, inputs, probabilities
from xent_bench.links import margin, softmax
from xent_bench.metrics.score import score
from xent_bench.runs.predictions import Predicted

FITS = [structured_vector.fit, structured_matrix.fit, dirichlet.fit]
NAMES = ["vector", "matrix", "dirichlet"]


def split(logits: np.ndarray, target: np.ndarray, name: str = "calib") -> Predicted:
    return Predicted(name, logits, target, np.arange(len(target)))


def skewed(n: int, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of a net that is too sure of some classes, and mixes each up with its neighbour."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.standard_normal((n, classes))
    u = np.linspace(0.3, 1, classes) * logits + 0.3 * np.roll(logits, 1, axis=1)
    return logits, (u + np.linspace(-1, 1, classes) + rng.gumbel(size=u.shape)).argmax(axis=1)


def nll(fitted, logits: np.ndarray, target: np.ndarray) -> float:
    return score(logits, target, fitted)["nll"]


@pytest.fixture
def probmetrics(monkeypatch):
    """The package of the authors; it wants numba for a solver that is not used here."""
    numba = types.ModuleType("numba")
    numba.njit = lambda **_: lambda function: function
    monkeypatch.setitem(sys.modules, "numba", numba)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.script, which it imports, is deprecated
        import probmetrics.calibrators

        yield probmetrics.calibrators


@pytest.mark.parametrize(("n", "classes"), [(300, 3), (200, 10)])
def test_both_agree_with_the_package_of_their_authors(probmetrics, n, classes):
    logits, target = skewed(n, classes)
    fresh, _ = skewed(1000, classes, seed=1)
    for fit, name in (
        (structured_vector.fit, "SVSCalibrator"),
        (structured_matrix.fit, "SMSCalibrator"),
    ):
        oracle = getattr(probmetrics, name)()
        oracle.fit(np.exp(softmax(logits)), target)
        expected = oracle.predict_proba(np.exp(softmax(fresh)))
        p = np.exp(fit(split(logits, target), softmax)(fresh))

        # its solver stops early, in float32: see the next test for the optimum itself
        np.testing.assert_allclose(p, expected, atol=3e-3)


@pytest.mark.parametrize("penalty", [Penalty(3, 3, None), Penalty(3, 3, 6), Penalty(0.3, 0.5, 2)])
@pytest.mark.parametrize("soft", [False, True])
def test_the_fitted_map_is_the_optimum_of_its_objective(penalty, soft):
    """The objective written down once more, minimised by BFGS with numerical slopes."""
    logits, target = skewed(150, 3)
    x, q = softmax(logits), np.eye(3)[target]
    if soft:
        q = 0.8 * q + 0.2 / 3
    off = 1 - np.eye(3)

    def objective(theta: np.ndarray) -> float:
        change, bias = theta[:9].reshape(3, 3), theta[9:]
        if penalty.off_diagonal is None:
            change = change * np.eye(3)
        fit = -(q * softmax(x + x @ change.T + bias)).sum()
        held = penalty.diagonal * (np.diag(change) ** 2).sum() + penalty.bias * (bias**2).sum()
        return (
            fit
            + held
            + (penalty.off_diagonal or 1.0) * ((theta[:9].reshape(3, 3) * off) ** 2).sum()
        )

    oracle = minimize(objective, np.zeros(12), options={"gtol": 1e-6})
    fitted = fit_affine(x, q if soft else target, penalty, "it")

    weight = fitted.weight if fitted.weight.ndim == 2 else np.diag(fitted.weight)
    np.testing.assert_allclose(weight - np.eye(3), oracle.x[:9].reshape(3, 3), atol=1e-5)
    np.testing.assert_allclose(fitted.bias, oracle.x[9:], atol=1e-5)


def test_a_matrix_without_a_prior_is_a_logistic_regression_on_log_probabilities():
    """Without a penalty to speak of: scikit-learn's pulls W to 0, and not to the identity."""
    logits, target = skewed(400, 3)
    x = softmax(logits)
    oracle = LogisticRegression(C=1e6, tol=1e-10, max_iter=10_000).fit(x, target)
    fitted = fit_affine(x, target, Penalty(1e-3, 1e-3, 1e-3), "it")

    p = np.exp(probabilities(x, fitted))
    np.testing.assert_allclose(p, oracle.predict_proba(x), atol=2e-3)


@pytest.mark.parametrize("fit", FITS, ids=NAMES)
def test_what_a_temperature_cannot_mend_is_mended(fit):
    calib, (fresh, truth) = split(*skewed(3000)), skewed(5000, seed=1)
    from xent_bench.calibrators import temperature

    tempered = nll(temperature.fit(calib, softmax), fresh, truth)
    assert nll(fit(calib, softmax), fresh, truth) < tempered - 0.02


def test_matrices_find_what_is_mixed_up_and_vectors_cannot():
    calib, (fresh, truth) = split(*skewed(3000)), skewed(5000, seed=1)
    by_name = {
        name: nll(fit(calib, softmax), fresh, truth) for name, fit in zip(NAMES, FITS, strict=True)
    }

    assert max(by_name["matrix"], by_name["dirichlet"]) < by_name["vector"] - 0.02


@pytest.mark.parametrize("fit", FITS, ids=NAMES)
def test_calib_without_an_error_leaves_every_number_finite_and_of_sane_size(fit):
    target = np.arange(60) % 3
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 3)) + 12 * np.eye(3)[target]
    fitted = fit(split(logits, target), softmax)

    weights = fitted.keywords["affine"]
    assert max(np.abs(part).max() for part in weights) < 5
    p = np.exp(fitted(np.vstack([logits, [[1e9, 0, -1e9]]])))
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert 0 < p.min() < p.max() < 1


@pytest.mark.parametrize("fit", FITS, ids=NAMES)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_handful_of_images_is_enough_to_fit_to(fit, n):
    logits = 3 * np.eye(4)[np.arange(n)]
    fitted = fit(split(logits, np.arange(n)), softmax)

    assert np.isfinite(fitted(logits)).all()


@pytest.mark.parametrize("fit", FITS, ids=NAMES)
def test_one_hot_rows_are_read_as_their_classes(fit):
    logits, target = skewed(200)
    hard, soft = (fit(split(logits, labels), softmax) for labels in (target, np.eye(4)[target]))

    np.testing.assert_allclose(hard(logits), soft(logits), atol=1e-6)


@pytest.mark.parametrize("fit", FITS, ids=NAMES)
def test_a_hinge_is_calibrated_from_its_scaled_outputs(fit):
    logits, target = skewed(300)

    hinge = fit(split(logits, target), partial(margin))(logits)
    np.testing.assert_array_equal(hinge, fit(split(logits, target), softmax)(logits))


@pytest.mark.parametrize("fit", FITS, ids=NAMES)
def test_the_order_of_the_images_of_calib_changes_only_the_rounding(fit):
    """As another processor does: a run that is rescored there must be as logged, to 1e-9."""
    logits, target = skewed(600)
    order = np.random.default_rng(0).permutation(600)
    if fit is dirichlet.fit:
        order = np.lexsort((np.arange(600), -target))  # within a class, the order decides the fold
    straight = fit(split(logits, target), softmax)(logits)

    found = fit(split(logits[order], target[order]), softmax)(logits)
    np.testing.assert_allclose(found, straight, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("fit", FITS, ids=NAMES)
def test_fitting_twice_gives_the_same_bits(fit):
    calib = split(*skewed(500))

    assert np.array_equal(fit(calib, softmax)(calib.outputs), fit(calib, softmax)(calib.outputs))


@pytest.mark.parametrize("fit", FITS, ids=NAMES)
def test_another_split_than_calib_is_refused(fit):
    with pytest.raises(ValueError, match="expected outputs on calib, got those on test"):
        fit(split(*skewed(50), name="test"), softmax)


@pytest.mark.parametrize(
    ("fit", "name"),
    list(
        zip(
            FITS,
            ("structured vector scaling", "structured matrix scaling", "Dirichlet calibration"),
            strict=True,
        )
    ),
)
def test_an_optimum_that_is_not_reached_is_refused_by_name(fit, name, monkeypatch):
    monkeypatch.setattr(affine, "STEPS", 1)

    with pytest.raises(ValueError, match=f"{name} found no optimum"):
        fit(split(*skewed(500)), softmax)


def test_no_image_is_certain_of_more_than_calib_can_show():
    """p = (n p + 1 / c) / (n + 1), with n images of calib, before the map."""
    x = inputs(np.array([[100.0, 0, 0, 0]]), tempered=softmax, images=99)
    still = Affine(np.ones(4), np.zeros(4))

    np.testing.assert_allclose(np.exp(x), [[0.9925, 0.0025, 0.0025, 0.0025]])
    mapped = apply(np.array([[100.0, 0, 0, 0]]), preprocess=lambda _: x, affine=still)
    np.testing.assert_allclose(mapped, x)


def test_each_fold_has_its_share_of_every_class():
    target = np.array([0] * 10 + [1] * 5 + [2] * 3)[np.random.default_rng(0).permutation(18)]
    folds = dirichlet.folds_of(target)

    counts = np.array([np.bincount(target[folds == fold], minlength=3) for fold in range(5)])
    assert (counts.max(axis=0) - counts.min(axis=0) <= 1).all()
    assert (dirichlet.folds_of(np.eye(3)[target]) == folds).all()
    assert dirichlet.folds_of(np.array([1, 0])).tolist() == [1, 0]


def test_the_strength_is_the_one_that_predicts_left_out_images_best():
    """Chosen by hand among all that are tried, with the folds as they are."""
    logits, target = skewed(120)
    x = softmax(logits)
    folds = dirichlet.folds_of(target)

    def left_out(strength: float) -> float:
        total = 0.0
        for fold in range(5):
            fitted = fit_affine(
                x[folds != fold],
                target[folds != fold],
                Penalty(4 * strength, 0.5, 12 * strength),
                "it",
            )
            rows = folds == fold
            total -= probabilities(x[rows], fitted)[np.arange(rows.sum()), target[rows]].sum()
        return total

    losses = [left_out(strength) for strength in dirichlet.STRENGTHS]
    assert dirichlet.chosen_strength(x, target) == dirichlet.STRENGTHS[int(np.argmin(losses))]
    noise = np.random.default_rng(0).normal(size=(40, 4))
    assert dirichlet.chosen_strength(noise, np.arange(40) % 4) >= 1  # there is nothing to fit
