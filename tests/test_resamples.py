"""Metrics of many rankings at once, against the same metrics one by one: to the last bit."""

import numpy as np
import pytest
from scipy.optimize import brentq

from xent_bench.links import Link, margin, softmax
from xent_bench.metrics import random_draws, uncertainty
from xent_bench.metrics.examples import Examples, examine
from xent_bench.metrics.random_draws import Request, draws
from xent_bench.metrics.ranked import is_alone, level
from xent_bench.metrics.roots import roots
from xent_bench.metrics.score import ranked_metrics
from xent_bench.metrics.uncertainty import RESAMPLES, consistent, rounded_up, standard_errors


def answered(n: int, kind: str, link: Link = softmax) -> Examples:
    rng = np.random.default_rng(n)
    z = 3 * rng.normal(size=(n, 6)).astype(np.float32)
    if kind == "ties":
        z = z.round()
    labels = (z / 2 + rng.gumbel(size=z.shape)).argmax(axis=1)
    return examine(z, rng.dirichlet(np.ones(6), n) if kind == "soft" else labels, link)


def one_by_one(examples: Examples) -> dict[str, float]:
    """The bootstrap as it is defined: each resample ranked and measured by itself."""
    rng = np.random.default_rng(0)
    order = examples.certainty.argsort(kind="stable")
    certainty, outcome, n = examples.certainty[order], examples.top1[order], len(order)
    soft, alone = examples.soft is not None, is_alone(level(certainty, outcome))
    values = {name: [] for name in ranked_metrics(examples) if name != "mce"}
    for _ in range(RESAMPLES):
        places = np.sort(rng.integers(n, size=n))
        resample = level(certainty[places], outcome[places], soft=soft, alone=alone[places])
        for name in values:
            values[name].append(ranked_metrics(examples)[name](resample))
    return {name: float(np.std(of, ddof=1)) for name, of in values.items() if None not in of}


@pytest.mark.parametrize("n", [3, 40, 501])
@pytest.mark.parametrize("kind", ["hard", "ties", "soft"])
def test_standard_errors_have_the_bits_of_resamples_measured_one_by_one(n, kind):
    examples = answered(n, kind)
    errors, expected = standard_errors(examples), one_by_one(examples)

    assert expected
    assert {name: errors.get(name) for name in expected} == expected
    undefined = set(ranked_metrics(examples)) - set(expected)
    assert not undefined & set(errors)


def test_margins_too_are_resampled_to_the_same_bits():
    examples = answered(333, "hard", margin)

    assert one_by_one(examples).items() <= standard_errors(examples).items()


def test_resamples_that_are_not_kept_give_the_same_errors(monkeypatch):
    examples = answered(120, "ties")
    kept = standard_errors(examples)
    monkeypatch.setattr(uncertainty, "KEPT", 0)
    monkeypatch.setattr(uncertainty, "ROWS", 500)  # four rows at a time

    assert standard_errors(examples) == kept


def test_random_numbers_that_are_kept_are_those_of_one_generator(monkeypatch):
    asked = Request((3, 5)), Request((7,), "normal"), Request((3, 3), "uniform in float32")
    kept = list(draws(*asked))
    monkeypatch.setattr(random_draws, "KEPT", 0)
    rng = np.random.default_rng(0)
    expected = rng.random((3, 5)), rng.standard_normal(7), rng.random((3, 3), np.float32)

    for array, drawn, by_hand in zip(kept, draws(*asked), expected, strict=True):
        np.testing.assert_array_equal(array, by_hand)
        np.testing.assert_array_equal(drawn, by_hand)
        assert array.dtype == by_hand.dtype
    with pytest.raises(ValueError, match="read-only"):
        kept[0][0, 0] = 1


def test_draws_are_compared_in_float32_as_in_float64():
    rng = np.random.default_rng(0)
    drawn = rng.random(100_000, np.float32)
    beside = drawn * (1 + rng.integers(-1, 2, drawn.size) * 2.0**-40)  # half a bit and less away

    np.testing.assert_array_equal(drawn < rounded_up(beside), drawn < beside)


def test_a_null_band_counts_right_answers_in_the_bins_of_the_draws():
    ranked = answered(200, "hard").ranked
    bins = consistent(ranked)
    uniform = np.random.default_rng(0).random((1000, 200), np.float32)
    right = uniform < ranked.certainty

    assert bins.right.sum() == right.sum()
    np.testing.assert_array_equal(bins.right[:, 0], right[:, : bins.n[0]].sum(axis=1))


def test_roots_of_many_functions_have_the_bits_of_scipy():
    rng = np.random.default_rng(0)
    centre, slope, offset = rng.normal(size=(3, 400))
    low, high = np.full(400, -3.0), rng.uniform(2, 9, 400)

    def value(k, x):  # products alone: a power of an array may round otherwise than one of a number
        from_centre = x - centre[k]
        return (
            slope[k] * slope[k] * from_centre * from_centre * from_centre + from_centre + offset[k]
        )

    which = usable(value, low, high)
    expected = [brentq(lambda x, k=k: value(k, x), low[k], high[k], xtol=1e-9) for k in which]
    at = roots(lambda k, x: value(which[k], x), low[which], high[which], 1e-9)

    assert len(which) > 300
    assert at.tolist() == expected


def usable(value, low, high):
    every = np.arange(len(low))
    return every[np.sign(value(every, low)) != np.sign(value(every, high))]


def test_a_root_at_an_end_is_returned_and_equal_signs_are_refused():
    at = roots(lambda _, x: x, np.array([0.0, -1.0, -2.0]), np.array([1.0, 0.0, 1.0]), 1e-9)

    assert at[:2].tolist() == [0.0, 0.0]
    assert at[2] == pytest.approx(0, abs=1e-9)
    with pytest.raises(ValueError, match="opposite signs"):
        roots(lambda _, x: x, np.array([1.0]), np.array([2.0]), 1e-9)
