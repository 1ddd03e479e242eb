"""Links: outputs to probabilities."""

from functools import partial

import pytest
import torch

from xent_bench.links import link_of, margin, sigmoid, simplex, softmax, use
from xent_bench.losses.hinge import hinge
from xent_bench.losses.sparse_ce import sparse_ce
from xent_bench.losses.square import square


def test_softmax_is_the_link_when_a_loss_says_nothing(rng):
    logits = torch.randn(4, 3, generator=rng)

    assert torch.equal(link_of(partial(sparse_ce))(logits), softmax(logits))


def test_sigmoid_is_one_against_the_rest_normalised(rng):
    logits = 3 * torch.randn(4, 3, generator=rng, dtype=torch.float64)
    s = logits.sigmoid()

    torch.testing.assert_close(sigmoid(logits).exp(), s / s.sum(dim=1, keepdim=True))
    assert sigmoid(torch.tensor([[-1e4, -1e5, 3.0]])).exp().tolist() == [[0, 0, 1]]


def test_no_point_of_the_simplex_is_nearer_than_the_projection(rng):
    logits = 2 * torch.randn(50, 6, generator=rng, dtype=torch.float64)
    projected = simplex(logits).exp()
    corners = torch.eye(6, dtype=torch.float64)

    # first-order optimality: no corner lies in the direction of z - p
    towards = (logits - projected) @ corners.T
    at_p = ((logits - projected) * projected).sum(dim=1, keepdim=True)
    assert (towards <= at_p + 1e-12).all()
    torch.testing.assert_close(projected.sum(dim=1), torch.ones(50).double())


def test_a_perfect_regressor_is_certain_on_the_simplex_and_not_by_softmax():
    one_hot = torch.eye(10)[[3]]

    assert simplex(one_hot).exp()[0, 3].item() == 1
    assert softmax(one_hot).exp()[0, 3].item() == pytest.approx(0.232, abs=5e-4)


def test_the_projection_of_huge_outputs_is_a_corner():
    assert simplex(torch.tensor([[1e17, 0.0, -1e30]])).exp().tolist() == [[1, 0, 0]]


def test_square_projects_in_units_of_its_target_value():
    logits = torch.tensor([[30.0, 0.0, 0.0]])

    assert link_of(partial(square, M=30.0))(logits).exp().tolist() == [[1, 0, 0]]


def test_a_link_gets_the_defaults_of_its_loss_too():
    def tempered(logits, *, temperature):
        return softmax(logits / temperature)

    @use(tempered)
    def loss(logits, target, *, temperature=2.0):
        raise NotImplementedError

    logits = torch.tensor([[2.0, 0.0]])
    assert torch.equal(link_of(partial(loss))(logits), softmax(logits / 2))
    assert torch.equal(link_of(partial(loss, temperature=4.0))(logits), softmax(logits / 4))


def test_what_is_no_function_is_no_link():
    with pytest.raises(TypeError, match="softmax"):
        use("softmax")


def test_a_hinge_has_no_probabilities():
    assert link_of(partial(hinge))(torch.zeros(1, 3)) is None
    assert margin(torch.zeros(1, 3)) is None
