"""Which loss is which, in limit cases and closed forms."""

import math

import pytest
import torch
from torch.nn import functional as F

from xent_bench.losses.brier import brier
from xent_bench.losses.ce import ce
from xent_bench.losses.focal import focal
from xent_bench.losses.hinge import hinge
from xent_bench.losses.mse import mse
from xent_bench.losses.sparse_ce import sparse_ce
from xent_bench.losses.square import square

C = 5


@pytest.fixture
def logits(rng):
    return 3 * torch.randn(8, C, generator=rng, dtype=torch.float64)


@pytest.fixture
def labels(rng):
    return torch.randint(C, (8,), generator=rng)


@pytest.fixture
def one_hot(labels):
    return F.one_hot(labels, C).double()


def test_ce_on_one_hot_is_sparse_ce_in_value_and_gradient(logits, labels, one_hot):
    a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    dense, sparse = ce(a, one_hot), sparse_ce(b, labels)
    dense.mean().backward()
    sparse.mean().backward()

    assert torch.equal(dense, sparse)
    assert torch.equal(a.grad, b.grad)


def test_ce_is_entropy_plus_divergence(logits, rng):
    q = torch.rand(8, C, generator=rng, dtype=torch.float64)
    q /= q.sum(dim=1, keepdim=True)
    entropy = torch.special.entr(q).sum(dim=1)
    divergence = (q * (q.log() - logits.log_softmax(dim=1))).sum(dim=1)

    torch.testing.assert_close(ce(logits, q), entropy + divergence)


def test_brier_is_c_times_mse(logits, one_hot):
    torch.testing.assert_close(brier(logits, one_hot), C * mse(logits, one_hot))


def test_brier_is_two_for_a_certain_wrong_answer():
    wrong = torch.tensor([[80.0, 0.0, 0.0]])

    assert brier(wrong, torch.tensor([[0.0, 1.0, 0.0]])).item() == 2


def test_focal_without_focus_is_sparse_ce(logits, labels):
    torch.testing.assert_close(focal(logits, labels, gamma=0.0), sparse_ce(logits, labels))


def test_focal_weighs_by_doubt(logits, labels):
    p = logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)

    torch.testing.assert_close(focal(logits, labels, gamma=3.0), -((1 - p) ** 3) * p.log())


@pytest.mark.parametrize("gamma", [0.5, 1.0, 5.0])
def test_focal_has_a_finite_gradient_where_there_is_no_doubt(gamma):
    certain = torch.tensor([[200.0, 0.0]], requires_grad=True)
    focal(certain, torch.tensor([0]), gamma=gamma).sum().backward()

    assert certain.grad.isfinite().all()


def test_square_is_the_mean_squared_distance_to_one_hot(logits, labels, one_hot):
    torch.testing.assert_close(square(logits, labels), (logits - one_hot).square().mean(dim=1))


def test_square_weighs_the_whole_square_of_the_true_class(logits, labels, one_hot):
    weight = 1 + 14 * one_hot

    expected = (weight * (logits - 30 * one_hot).square()).mean(dim=1)
    torch.testing.assert_close(square(logits, labels, k=15.0, M=30.0), expected)


def test_hinge_is_zero_beyond_the_margin_and_grows_linearly_before_it():
    logits = torch.tensor([[3.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 2.0, 5.0]])
    labels = torch.tensor([0, 0, 0])

    assert hinge(logits, labels).tolist() == [0, 1, 6]
    assert hinge(logits, labels, margin=3.0).tolist() == [1, 3, 8]


def test_sparse_ce_of_the_uniform_answer_is_log_c():
    assert sparse_ce(torch.zeros(1, 7), torch.tensor([3])).item() == pytest.approx(math.log(7))


def test_a_worked_example_dog_cat_panda():
    scores = torch.tensor([[-3.44, 1.16, 3.91]])
    panda = torch.tensor([2])

    assert scores.softmax(dim=1)[0].tolist() == pytest.approx([0.0006, 0.0601, 0.9393], abs=5e-5)
    assert sparse_ce(scores, panda).item() == pytest.approx(0.0626, abs=5e-5)


def test_cross_entropy_pushes_a_confident_wrong_answer_and_squared_error_does_not():
    def push(loss, target):
        wrong = torch.tensor([[0.0, 20.0]], requires_grad=True)
        loss(wrong, target).sum().backward()
        return wrong.grad.norm().item()

    assert push(sparse_ce, torch.tensor([0])) > 1
    assert push(mse, torch.tensor([[1.0, 0.0]])) < 1e-6
