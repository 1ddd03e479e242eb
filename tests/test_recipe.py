"""Temperature scaling as a recipe: what chance makes of it, against fitting again and again."""

import tracemalloc
from functools import partial

import numpy as np
import pytest
from scipy.special import log_softmax

from xent_bench.calibrators.temperature import Temperature, fit_temperature
from xent_bench.evaluation.recipe import recipe_draws
from xent_bench.links import softmax
from xent_bench.metrics.calibration import ece
from xent_bench.metrics.ranked import rank
from xent_bench.runs.predictions import Predicted

TRUE = 1.6  # temperature


def outputs(n: int, seed: int, lead: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    z = 2 * rng.standard_normal((n, 5))
    z[np.arange(n), rng.integers(5, size=n)] += lead
    return z


def drawn(z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cumulated = np.exp(log_softmax(z / TRUE, axis=1)).cumsum(axis=1)
    return np.minimum((rng.random((len(z), 1)) > cumulated).sum(axis=1), z.shape[1] - 1)


@pytest.mark.parametrize(("n_calib", "lead"), [(10, 3.0), (150, 4.0), (150, 9.0), (1500, 4.0)])
def test_the_draws_are_those_of_fitting_to_drawn_labels(n_calib, lead):
    """Of 10 images and at the lead of 9 few answers are wrong: T is told badly, and skewed."""
    calib, test = outputs(n_calib, 0, lead), outputs(400, 1, lead)
    rng, link, ids = np.random.default_rng(2), partial(softmax), np.arange(n_calib)
    gaps, errors, fitted = [], [], []
    for _ in range(400):
        refitted = fit_temperature(Predicted("calib", calib, drawn(calib, rng), ids), link)
        p = np.exp(log_softmax(test / refitted.value, axis=1))
        correct = (p.argmax(axis=1) == drawn(test, rng)).astype(float)
        ranked = rank(p.max(axis=1), correct)
        gaps.append(ranked.gap.mean())
        errors.append(ece(ranked))
        fitted.append(np.log(refitted.value))
    draws = recipe_draws(calib, test, Temperature(TRUE, float(np.std(fitted))))

    # of a standard deviation of 400 draws: 3.5 %; of a mean: a twentieth of it
    assert draws.overconfidence.std() == pytest.approx(np.std(gaps), rel=0.14)
    assert draws.overconfidence.mean() == pytest.approx(np.mean(gaps), abs=0.25 * np.std(gaps))
    assert draws.ece.mean() == pytest.approx(np.mean(errors), rel=0.08)
    assert np.quantile(draws.ece, 0.95) == pytest.approx(np.quantile(errors, 0.95), rel=0.12)


def test_many_labels_are_drawn_as_a_normal_sum():
    """Just below and just above the number from which labels are not drawn one by one."""
    below, above = (
        recipe_draws(outputs(n, 3, 4.0), outputs(300, 4, 4.0), Temperature(TRUE, 0.01))
        for n in (26_000, 26_500)
    )

    assert above.overconfidence.std() == pytest.approx(below.overconfidence.std(), rel=0.1)
    assert above.ece.mean() == pytest.approx(below.ece.mean(), rel=0.06)


def test_the_normal_sum_spreads_as_the_labels_do(monkeypatch):
    """With so few images on calib that much of the spread is that of the temperature."""
    calib, test, fitted = outputs(100, 3, 2.0), outputs(20_000, 4, 2.0), Temperature(TRUE, 0.1)
    one_by_one = recipe_draws(calib, test, fitted)
    monkeypatch.setattr("xent_bench.evaluation.recipe.FEW", 0)
    at_once = recipe_draws(calib, test, fitted)

    assert at_once.overconfidence.std() == pytest.approx(one_by_one.overconfidence.std(), rel=0.1)


def test_soft_labels_make_it_a_bound():
    draws = recipe_draws(
        outputs(100, 5, 4.0), outputs(100, 6, 4.0), Temperature(TRUE, 0.1), soft=True
    )

    assert draws.band().ece_low == 0


def test_the_draws_take_little_memory_beside_the_outputs():
    wide = 2 * np.random.default_rng(5).standard_normal((2000, 1000))
    tracemalloc.start()
    recipe_draws(wide, wide[:300], Temperature(TRUE, 0.01))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 1.5 * wide.nbytes  # with intermediate results of all rows it is four times
