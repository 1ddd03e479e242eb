"""Calibrators: fitted on calib alone, to what they say, at the edges too."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from scipy.optimize import check_grad, minimize_scalar
from sklearn.isotonic import IsotonicRegression

from xent_bench import arrays
from xent_bench.calibrators import isotonic, temperature, vector_scaling
from xent_bench.calibrators.temperature import fit_temperature, scale
from xent_bench.config.calibrators import Calibrator
from xent_bench.evaluation.evaluate import evaluate, scaled_map
from xent_bench.links import margin, normalised_softmax, projection, sigmoid, simplex, softmax
from xent_bench.metrics.reported import PREFIXES
from xent_bench.metrics.score import score
from xent_bench.runs.predictions import Predicted, Predictions

LINKS = [
    partial(softmax),
    partial(sigmoid),
    partial(simplex),
    partial(margin),
    partial(projection, M=3.0),
    partial(normalised_softmax, tau=0.1),
]


def split(name: str, logits: np.ndarray, target: np.ndarray) -> Predicted:
    return Predicted(name, logits, target, np.arange(len(target)))


def drawn(n: int, *, sharpness: float = 0.5, seed: int = 0, classes: int = 10) -> tuple:
    """Outputs whose true probabilities are softmax(sharpness z)."""
    rng = np.random.default_rng(seed)
    logits = 4 * rng.normal(size=(n, classes))
    return logits, (sharpness * logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


@pytest.fixture
def calib():
    return split("calib", *drawn(2000))


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.func.__name__)
def test_the_temperature_minimises_nll(calib, link):
    def nll(t: float) -> float:
        log_p = scale(calib.outputs, link=link, temperature=t)
        return float(-log_p[np.arange(len(log_p)), calib.target].mean())

    oracle = minimize_scalar(nll, bounds=(0.05, 20), options={"xatol": 1e-10})
    found = fit_temperature(calib, link)

    assert found.value == pytest.approx(oracle.x, rel=1e-5)
    assert not found.at_bound


def test_the_temperature_is_the_one_that_was_drawn(calib):
    assert fit_temperature(calib, softmax).value == pytest.approx(2, rel=0.1)


def test_many_outputs_are_read_in_blocks_and_give_the_same_temperature(monkeypatch):
    calib = split("calib", *drawn(1500, classes=200))
    tracemalloc.start()
    in_blocks = fit_temperature(calib, softmax)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    monkeypatch.setattr(arrays, "AT_A_TIME", calib.outputs.size)
    at_once = fit_temperature(calib, softmax)

    assert most < 3 * calib.outputs.nbytes  # with intermediate results of all rows it is six times
    assert in_blocks.value == pytest.approx(at_once.value, rel=1e-10)
    assert in_blocks.error == pytest.approx(at_once.error, rel=1e-9)


@pytest.mark.parametrize("factor", [1e-4, 0.5, 1e5])
@pytest.mark.parametrize("link", [softmax, simplex, margin])
def test_the_temperature_scales_with_the_outputs(calib, link, factor):
    scaled = calib._replace(outputs=factor * calib.outputs)

    expected = factor * fit_temperature(calib, link).value
    assert fit_temperature(scaled, link).value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.func.__name__)
def test_scaling_keeps_the_order_of_the_classes(calib, link):
    scaled = temperature.fit(calib, link)(calib.outputs)

    assert (scaled.argsort(axis=1) == calib.outputs.argsort(axis=1)).all()


def test_a_temperature_of_one_is_the_link_where_that_can_be_scaled(calib):
    for link in LINKS:
        one = scale(calib.outputs, link=link, temperature=1.0)
        by_outputs = link.func is not normalised_softmax

        expected = softmax(calib.outputs) if by_outputs else link(calib.outputs)
        np.testing.assert_allclose(one, expected, atol=1e-12)
        assert (scaled_map(link, 10) == "softmax(z / T)") == by_outputs


def test_scaling_cannot_make_calib_worse_than_the_link_did(calib):
    for link in LINKS:
        raw = score(calib.outputs, calib.target, link).get("nll", np.inf)
        scaled = score(calib.outputs, calib.target, temperature.fit(calib, link))["nll"]

        assert scaled <= raw + 1e-12


def near_perfect(hair: float | None) -> tuple[Predicted, np.ndarray, np.ndarray]:
    """Calib without an error, but for one example whose margin is `hair`; test with 1 % errors."""
    rng = np.random.default_rng(0)

    def images(n: int) -> tuple[np.ndarray, np.ndarray]:
        target = np.arange(n) % 10
        return rng.normal(size=(n, 10)) + 10 * np.eye(10)[target], target

    logits, target = images(216)
    if hair is not None:
        logits[0, 0] = logits[0, 1:].max() + hair
    test, truth = images(2000)
    truth[:20] = (truth[:20] + 1) % 10
    return split("calib", logits, target), test, truth


@pytest.mark.parametrize("hair", [None, 1.0, 0.1, 1e-3, 0.0, -1e-3, -0.01])
@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e3])
def test_a_calib_that_leaves_the_temperature_open_gives_a_sane_one_and_says_so(hair, factor):
    calib, test, truth = near_perfect(hair)
    calib = calib._replace(outputs=factor * calib.outputs)
    found = fit_temperature(calib, softmax)

    assert found.at_bound
    scaled = score(factor * test / found.value, truth)["nll"]
    best = min(score(test * sharpness, truth)["nll"] for sharpness in np.linspace(0.1, 2, 50))
    assert scaled < 1.6 * best  # where 1/T grows without bound: 85 and more


def test_one_huge_output_does_not_set_the_scale():
    logits, target = drawn(300)
    logits[0, target[0]] = 1e9
    expected = fit_temperature(split("calib", *drawn(300)), softmax).value

    assert fit_temperature(split("calib", logits, target), softmax).value == pytest.approx(
        expected, rel=0.1
    )


def test_the_error_of_the_temperature_is_its_spread_over_calib_splits():
    found = [fit_temperature(split("calib", *drawn(400, seed=k)), softmax) for k in range(100)]
    values = np.array([each.value for each in found])

    spread = values.std() / values.mean()
    assert np.mean([each.error for each in found]) == pytest.approx(spread, rel=0.25)


@pytest.mark.parametrize(
    ("logits", "target"),
    [
        (np.eye(3), [1, 2, 0]),  # no better than chance
        (np.zeros((3, 3)), [0, 1, 2]),  # all equal
        (np.array([[1.0, 1.0, 0.0]] * 3), [0, 0, 0]),  # never wrong and always tied
    ],
)
def test_a_temperature_without_optimum_is_finite_and_says_so(logits, target):
    found = fit_temperature(split("calib", logits, np.array(target)), softmax)

    assert found.at_bound
    assert 0 < found.value < np.inf
    scaled = scale(logits, link=softmax, temperature=found.value)
    assert (scaled.argmax(axis=1) == logits.argmax(axis=1)).all()


def test_one_hot_rows_tell_the_temperature_and_its_error_as_their_classes_do(calib):
    one_hot = calib._replace(target=np.eye(10)[calib.target])

    assert fit_temperature(one_hot, softmax) == pytest.approx(fit_temperature(calib, softmax))


def test_equal_outputs_leave_the_temperature_at_one():
    assert fit_temperature(split("calib", np.ones((3, 3)), np.arange(3)), softmax).value == 1


def test_where_answers_are_no_better_than_chance_scaling_makes_them_nearly_uniform():
    calib = split("calib", np.eye(3), np.array([1, 2, 0]))

    p = np.exp(temperature.fit(calib, softmax)(calib.outputs))
    np.testing.assert_allclose(p, np.full((3, 3), 1 / 3), atol=1e-3)


@pytest.mark.parametrize("fit", [fit_temperature, vector_scaling.fit, isotonic.fit])
def test_fitting_on_anything_but_calib_is_an_error(calib, fit):
    with pytest.raises(ValueError, match="expected outputs on calib, got those on test"):
        fit(calib._replace(split="test"), softmax)


def test_vector_scaling_finds_weights_and_biases():
    logits, _ = drawn(20_000, classes=4)
    weight, bias = np.array([0.2, 0.4, 0.6, 0.8]), np.array([1.0, 0.0, -1.0, 0.5])
    rng = np.random.default_rng(1)
    target = (weight * logits + bias + rng.gumbel(size=logits.shape)).argmax(axis=1)
    calib = split("calib", logits, target)
    fitted = vector_scaling.fit(calib, partial(margin))  # on the outputs themselves
    true = score(softmax(weight * logits + bias), target)

    assert score(fitted(logits), target)["nll"] == pytest.approx(true["nll"], abs=2e-3)
    tempered = score(logits, target, temperature.fit(calib, partial(margin)))
    assert tempered["nll"] > true["nll"] + 0.1


def test_vector_scaling_stands_where_its_objective_is_flat(calib):
    fitted = vector_scaling.fit(calib, softmax)
    t = fit_temperature(calib, softmax).value

    def objective(x: np.ndarray) -> float:
        log_p = vector_scaling.scale(
            calib.outputs, link=softmax, weight=np.exp(x[:10]) / t, bias=x[10:]
        )
        return float(-log_p[np.arange(len(log_p)), calib.target].sum() + x @ x / 2)

    at = np.concatenate([np.log(t * fitted.keywords["weight"]), fitted.keywords["bias"]])
    assert check_grad(objective, np.zeros_like, at) < 0.05  # of a sum of 2000
    assert objective(at) < objective(np.zeros(20))


def test_vector_scaling_that_did_not_reach_its_optimum_is_refused(calib, monkeypatch):
    monkeypatch.setitem(vector_scaling.PRECISE, "maxiter", 1)

    with pytest.raises(ValueError, match="vector scaling found no optimum"):
        vector_scaling.fit(calib, softmax)


@pytest.mark.parametrize("n", [2, 10])
def test_where_calib_shows_no_error_isotonic_leaves_the_doubt_of_jeffreys(n):
    """Of a rate whose event never came in n examples: (0 + 1/2) / (n + 1)."""
    target = np.arange(n) % 2
    logits = 5 * np.eye(2)[target]

    p = np.exp(isotonic.fit(split("calib", logits, target), softmax)(logits))
    np.testing.assert_allclose(p.min(axis=1), np.full(n, 0.5 / (n + 1)))


def test_isotonic_rises_sums_to_one_and_claims_nothing_impossible(calib):
    fitted = isotonic.fit(calib, softmax)
    log_p = fitted(calib.outputs)

    np.testing.assert_allclose(np.exp(log_p).sum(axis=1), 1)
    assert np.isfinite(log_p).all()
    tempered = temperature.fit(calib, softmax)(calib.outputs)
    for k, each in enumerate(fitted.keywords["maps"]):
        assert isinstance(each, IsotonicRegression)
        order = tempered[:, k].argsort()
        assert (np.diff(each.predict(tempered[order, k])) >= 0).all()


@pytest.mark.parametrize("classes", [10, 200])
def test_isotonic_does_not_take_the_confidence_of_many_classes_away(classes):
    rng = np.random.default_rng(0)
    target = np.arange(2000) % classes
    logits = rng.normal(size=(2000, classes)) + 10 * np.eye(classes)[target]
    fitted = isotonic.fit(split("calib", logits, target), softmax)

    assert abs(score(fitted(logits), target)["overconfidence"]) < 0.003


@pytest.mark.parametrize("name", sorted(PREFIXES))
@pytest.mark.parametrize("link", LINKS, ids=lambda link: link.func.__name__)
def test_every_calibrator_mends_every_link_on_test(name, link):
    calib, test = split("calib", *drawn(3000)), split("test", *drawn(3000, seed=1))
    even = np.full(10, 300.0)  # images of each class in train
    both = Predictions(calib, test, link, tuple("0123456789"), train_counts=even)
    found = evaluate(both, [name])
    metrics, prefix = found.metrics, PREFIXES[name]

    assert metrics[f"{prefix}/nll"] < metrics.get("test/nll", np.inf)
    if scaled_map(link, 10) == "softmax(z / T)":  # as the labels were drawn
        assert metrics[f"{prefix}/ece"] < 0.04
    assert {f"{prefix}_se/nll", f"{prefix}_null/ece_high"} <= metrics.keys()
    assert found.words["link"] == link.func.__name__


def test_the_calibrators_are_the_choices():
    assert [each.name for each in Calibrator] == list(PREFIXES)
