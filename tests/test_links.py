"""Links: outputs to probabilities."""

from functools import partial

import numpy as np
import pytest
import torch

from xent_bench.links import link_of, margin, projection, sigmoid, simplex, softmax, use
from xent_bench.losses.hinge import hinge
from xent_bench.losses.logit_norm import logit_norm
from xent_bench.losses.sparse_ce import sparse_ce
from xent_bench.losses.square import square


@pytest.fixture
def outputs():
    return 3 * np.random.default_rng(0).normal(size=(50, 6))


def test_softmax_is_the_link_when_a_loss_says_nothing(outputs):
    expected = torch.tensor(outputs).log_softmax(dim=1).numpy()

    np.testing.assert_allclose(link_of(partial(sparse_ce))(outputs), expected, rtol=1e-12)


def test_sigmoid_is_one_against_the_rest_normalised(outputs):
    s = torch.tensor(outputs).sigmoid().numpy()

    np.testing.assert_allclose(np.exp(sigmoid(outputs)), s / s.sum(axis=1, keepdims=True))
    assert np.exp(sigmoid(np.array([[-1e4, -1e5, 3.0]]))).tolist() == [[0, 0, 1]]


def test_no_point_of_the_simplex_is_nearer_than_the_projection(outputs):
    projected = np.exp(simplex(outputs))
    corners = np.eye(6)

    # first-order optimality: no corner lies in the direction of z - p
    towards = (outputs - projected) @ corners.T
    at_p = ((outputs - projected) * projected).sum(axis=1, keepdims=True)
    assert (towards <= at_p + 1e-12).all()
    np.testing.assert_allclose(projected.sum(axis=1), np.ones(50))


def test_a_perfect_regressor_is_certain_on_the_simplex_and_not_by_softmax():
    one_hot = np.eye(10)[[3]]

    assert np.exp(simplex(one_hot))[0, 3] == 1
    assert np.exp(softmax(one_hot))[0, 3] == pytest.approx(0.232, abs=5e-4)


def test_the_projection_of_huge_outputs_is_a_corner():
    assert np.exp(simplex(np.array([[1e17, 0.0, -1e30]]))).tolist() == [[1, 0, 0]]


def test_square_projects_in_units_of_its_target_value():
    outputs = np.array([[30.0, 0.0, 0.0]])

    assert np.exp(link_of(partial(square, M=30.0))(outputs)).tolist() == [[1, 0, 0]]


def test_the_link_of_normalised_logits_is_what_their_loss_trains(outputs):
    target = torch.arange(50) % 6
    loss = partial(logit_norm, tau=0.3)

    value = loss(torch.tensor(outputs), target)
    log_p = link_of(loss)(outputs)
    np.testing.assert_allclose(-log_p[range(50), target.numpy()], value.numpy(), rtol=1e-9)


def test_a_link_gets_the_defaults_of_its_loss_too():
    def tempered(outputs, *, temperature):
        return softmax(outputs / temperature)

    @use(tempered)
    def loss(logits, target, *, temperature=2.0):
        raise NotImplementedError

    outputs = np.array([[2.0, 0.0]])
    for bound, temperature in ((partial(loss), 2), (partial(loss, temperature=4.0), 4)):
        np.testing.assert_array_equal(link_of(bound)(outputs), softmax(outputs / temperature))


def test_class_counts_reach_a_link_as_an_array():
    def with_prior(outputs, *, class_counts):
        return softmax(outputs + np.log(class_counts))

    @use(with_prior)
    def loss(logits, target, *, class_counts):
        raise NotImplementedError

    found = link_of(partial(loss, class_counts=torch.tensor([3, 1])))(np.zeros((1, 2)))
    np.testing.assert_allclose(np.exp(found), [[0.75, 0.25]])


def test_what_is_no_function_is_no_link():
    with pytest.raises(TypeError, match="softmax"):
        use("softmax")


def test_a_hinge_has_no_probabilities():
    assert link_of(partial(hinge))(np.zeros((1, 3))) is None
    assert margin(np.zeros((1, 3))) is None


def test_projection_divides_by_its_scale():
    """Regressed to 10 where the class is: 10 is certainty, and 5 with 5 is a half each."""
    outputs = np.array([[10.0, 0.0, 0.0], [5.0, 5.0, 0.0], [6.0, 4.0, 0.0], [100.0, 0.0, 0.0]])
    p = np.exp(projection(outputs, M=10.0))

    np.testing.assert_allclose(p, [[1, 0, 0], [0.5, 0.5, 0], [0.6, 0.4, 0], [1, 0, 0]], atol=1e-12)
