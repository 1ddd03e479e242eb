"""Which loss is which, in limit cases and closed forms."""

import math

import pytest
import torch
from torch.nn import functional as F

from xent_bench.losses.balanced_softmax import balanced_softmax
from xent_bench.losses.bce import bce
from xent_bench.losses.bootstrap_soft import bootstrap_soft
from xent_bench.losses.brier import brier
from xent_bench.losses.categorical_hinge import categorical_hinge
from xent_bench.losses.ce import ce
from xent_bench.losses.confidence_penalty import confidence_penalty
from xent_bench.losses.dual_focal import dual_focal
from xent_bench.losses.flsd53 import flsd53
from xent_bench.losses.focal import focal
from xent_bench.losses.gce import gce
from xent_bench.losses.hinge import hinge
from xent_bench.losses.huber import huber
from xent_bench.losses.kl import kl
from xent_bench.losses.label_smoothing import label_smoothing
from xent_bench.losses.ldam import ldam
from xent_bench.losses.log_cosh import log_cosh
from xent_bench.losses.logit_adjustment import logit_adjustment
from xent_bench.losses.logit_norm import logit_norm
from xent_bench.losses.logit_penalty import logit_penalty
from xent_bench.losses.mae import mae
from xent_bench.losses.margin_smoothing import margin_smoothing
from xent_bench.losses.mse import mse
from xent_bench.losses.nce import nce
from xent_bench.losses.nce_mae import nce_mae
from xent_bench.losses.nce_rce import nce_rce
from xent_bench.losses.ovr_hinge import ovr_hinge
from xent_bench.losses.ovr_squared_hinge import ovr_squared_hinge
from xent_bench.losses.poly1 import poly1
from xent_bench.losses.quantile import quantile
from xent_bench.losses.sce import sce
from xent_bench.losses.sigmoid_focal import sigmoid_focal
from xent_bench.losses.sparse_ce import sparse_ce
from xent_bench.losses.square import square
from xent_bench.losses.squared_hinge import squared_hinge
from xent_bench.losses.squentropy import squentropy
from xent_bench.losses.taylor_ce import taylor_ce
from xent_bench.losses.weighted_ce import weighted_ce
from xent_bench.losses.weston_watkins import weston_watkins

C = 5
equal = torch.testing.assert_close


@pytest.fixture
def logits(rng):
    return 3 * torch.randn(8, C, generator=rng, dtype=torch.float64)


@pytest.fixture
def labels(rng):
    return torch.randint(C, (8,), generator=rng)


@pytest.fixture
def one_hot(labels):
    return F.one_hot(labels, C).double()


@pytest.fixture
def p_y(logits, labels):
    """The probability of the true class."""
    return logits.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)


@pytest.fixture
def q(rng):
    """Soft labels."""
    drawn = torch.rand(8, C, generator=rng, dtype=torch.float64)
    return drawn / drawn.sum(dim=1, keepdim=True)


def test_ce_on_one_hot_is_sparse_ce_in_value_and_gradient(logits, labels, one_hot):
    a, b = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    dense, sparse = ce(a, one_hot), sparse_ce(b, labels)
    dense.mean().backward()
    sparse.mean().backward()

    assert torch.equal(dense, sparse)
    assert torch.equal(a.grad, b.grad)


def test_ce_with_two_classes_is_the_logistic_loss_of_the_difference(rng):
    logits = 3 * torch.randn(8, 2, generator=rng, dtype=torch.float64)
    q = torch.rand(8, 1, generator=rng, dtype=torch.float64)
    z = logits.requires_grad_()
    score = z[:, 1] - z[:, 0]

    values = ce(z, torch.cat([1 - q, q], 1))
    logistic = F.binary_cross_entropy_with_logits(score, q[:, 0], reduction="none")

    equal(values, logistic)
    equal(*(torch.autograd.grad(loss.sum(), z, retain_graph=True) for loss in (values, logistic)))


def test_ce_is_entropy_plus_divergence(logits, q):
    equal(ce(logits, q), torch.special.entr(q).sum(dim=1) + kl(logits, q))


def test_kl_is_zero_at_the_target_and_ce_on_one_hot(logits, q, one_hot):
    equal(kl(q.log(), q), torch.zeros(8).double())
    equal(kl(logits, one_hot), ce(logits, one_hot))


# --- a hyper-parameter at its limit is a simpler loss ---


def test_what_is_cross_entropy_without_its_addition(logits, labels, one_hot):
    expected = sparse_ce(logits, labels)

    for value in (
        focal(logits, labels, gamma=0.0),
        dual_focal(logits, labels, gamma=0.0),
        poly1(logits, labels, epsilon=0.0),
        label_smoothing(logits, one_hot, smoothing=0.0),
        sce(logits, labels, alpha=1.0, beta=0.0),
        bootstrap_soft(logits, labels, beta=1.0),
        logit_penalty(logits, labels, beta=0.0),
        confidence_penalty(logits, labels, beta=0.0),
        margin_smoothing(logits, labels, alpha=0.0),
        margin_smoothing(logits, labels, margin=100.0),
    ):
        equal(value, expected)


def test_gce_and_taylor_ce_lie_between_mae_and_cross_entropy(logits, labels, one_hot):
    half_mae, nll = mae(logits, one_hot) / 2, sparse_ce(logits, labels)

    equal(gce(logits, labels, q=1.0), half_mae)
    equal(gce(logits, labels, q=1e-9), nll, rtol=1e-6, atol=1e-9)
    equal(taylor_ce(logits, labels, t=1), half_mae)
    likely = nll < 2  # the series converges slowly where p_y is small
    equal(taylor_ce(logits, labels, t=500)[likely], nll[likely])


def test_the_sums_of_nce_without_a_part_are_the_other_part(logits, labels, one_hot):
    active, half_mae = nce(logits, labels), mae(logits, one_hot) / 2

    equal(nce_mae(logits, labels, beta=0.0), active)
    equal(nce_mae(logits, labels, alpha=0.0), half_mae)
    equal(nce_rce(logits, labels, beta=0.0), active)
    equal(nce_rce(logits, labels, alpha=0.0), -math.log(1e-4) * half_mae)


def test_the_two_hinges_are_one_with_two_classes():
    logits, labels = torch.tensor([[0.3, 0.8], [2.0, -1.0]]), torch.tensor([0, 0])

    equal(weston_watkins(logits, labels), hinge(logits, labels))


def test_sigmoid_focal_without_focus_is_half_of_bce(logits, labels, one_hot):
    value = sigmoid_focal(logits, labels, alpha=0.5, gamma=0.0)

    equal(value, bce(logits, one_hot) / 2)


def test_with_balanced_classes_their_counts_do_not_matter(logits, labels):
    counts = torch.full((C,), 17)
    expected = sparse_ce(logits, labels)

    for loss in (weighted_ce, balanced_softmax, logit_adjustment):
        equal(loss(logits, labels, class_counts=counts), expected)
    shifted = logits - 0.5 * F.one_hot(labels, C)
    equal(ldam(logits, labels, class_counts=counts), sparse_ce(shifted, labels))


def test_logit_adjustment_lies_between_cross_entropy_and_balanced_softmax(logits, labels):
    counts = torch.tensor([100, 50, 20, 5, 1])

    none = logit_adjustment(logits, labels, class_counts=counts, tau=0.0)
    full = logit_adjustment(logits, labels, class_counts=counts, tau=1.0)
    equal(none, sparse_ce(logits, labels))
    equal(full, balanced_softmax(logits, labels, class_counts=counts))


# --- closed forms ---


def test_label_smoothing_mixes_in_the_uniform_answer(logits, one_hot):
    uniform = ce(logits, torch.full_like(one_hot, 1 / C))

    expected = 0.9 * ce(logits, one_hot) + 0.1 * uniform
    equal(label_smoothing(logits, one_hot, smoothing=0.1), expected)


def test_mae_is_twice_the_doubt(logits, one_hot, p_y):
    equal(mae(logits, one_hot), 2 * (1 - p_y))


def test_bce_sums_binary_cross_entropies(logits, one_hot):
    s = logits.sigmoid()

    equal(bce(logits, one_hot), -(one_hot * s.log() + (1 - one_hot) * (1 - s).log()).sum(dim=1))


def test_squentropy_adds_the_mean_square_of_the_wrong_outputs():
    logits = torch.tensor([[5.0, 1.0, -3.0]])
    labels = torch.tensor([0])

    equal(squentropy(logits, labels), sparse_ce(logits, labels) + (1 + 9) / 2)


def test_log_cosh_is_that_also_where_cosh_overflows(logits, one_hot):
    equal(log_cosh(logits, one_hot), (logits - one_hot).cosh().log().mean(dim=1))
    equal(
        log_cosh(torch.tensor([[1e4, 0.0]]), torch.tensor([[0.0, 0.0]])).item(), 5e3, atol=1, rtol=0
    )


def test_huber_is_half_the_square_near_the_target_and_linear_far_from_it():
    target = torch.tensor([[1.0, 0.0]])

    equal(huber(torch.tensor([[0.5, 0.0]]), target), torch.tensor([0.125 / 2]))
    equal(huber(torch.tensor([[1.0, 5.0]]), target, delta=2.0), torch.tensor([2 * (5 - 1) / 2]))


def test_quantile_weighs_what_is_too_low_by_tau_and_what_is_too_high_by_the_rest():
    target = torch.tensor([[1.0, 0.0]])

    equal(quantile(torch.tensor([[0.0, 0.0]]), target, tau=0.8), torch.tensor([0.8 / 2]))
    equal(quantile(torch.tensor([[1.0, 1.0]]), target, tau=0.8), torch.tensor([0.2 / 2]))


def test_the_median_loss_is_half_the_mean_absolute_distance(logits, one_hot):
    equal(quantile(logits, one_hot), (logits - one_hot).abs().mean(dim=1) / 2)


def test_hinges_of_a_worked_example():
    logits = torch.tensor([[0.5, 1.0, -2.0]])
    first = torch.tensor([0])

    assert hinge(logits, first).item() == 1.5  # 1 + 1.0 - 0.5
    assert squared_hinge(logits, first).item() == 2.25
    assert weston_watkins(logits, first).item() == 1.5  # and nothing for -2.0
    assert ovr_hinge(logits, first).item() == 2.5  # 0.5 + 2.0 + 0
    assert ovr_squared_hinge(logits, first).item() == 4.25
    assert categorical_hinge(logits, first).item() == 1.5


def test_categorical_hinge_is_hinge_unless_every_wrong_output_is_negative():
    logits, first = torch.tensor([[3.0, 1.0], [0.2, -1.0]]), torch.tensor([0, 0])

    assert hinge(logits, first).tolist() == pytest.approx([0, 0])
    assert categorical_hinge(logits, first).tolist() == pytest.approx([0, 0.8])


def test_flsd53_is_focal_with_the_exponent_of_the_example(logits, labels, p_y):
    three, five = (focal(logits, labels, gamma=gamma) for gamma in (3.0, 5.0))

    assert {True, False} == set((p_y < 0.2).tolist())
    equal(flsd53(logits, labels), torch.where(p_y < 0.2, five, three))


def test_the_exponent_of_flsd53_has_no_gradient(logits, labels, p_y):
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    gamma = torch.where(p_y < 0.2, 5.0, 3.0)
    p = theirs.softmax(dim=1).gather(1, labels[:, None]).squeeze(1)
    flsd53(ours, labels).sum().backward()
    (-((1 - p) ** gamma) * p.log()).sum().backward()

    equal(ours.grad, theirs.grad)


def test_the_rival_of_dual_focal_is_the_next_below_the_true_class():
    p = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64)

    for label, doubt in ((0, 1 - 0.5 + 0.3), (1, 1 - 0.3 + 0.2), (2, 1 - 0.2)):
        value = dual_focal(p.log(), torch.tensor([label]), gamma=2.0)
        assert value.item() == pytest.approx(-(doubt**2) * math.log(p[0, label]))


def test_sce_adds_the_reverse_cross_entropy(logits, labels, one_hot):
    log_one_hot = torch.where(one_hot == 1, 0.0, -4.0)  # A stands for log 0
    reverse = -(logits.softmax(dim=1) * log_one_hot).sum(dim=1)

    equal(sce(logits, labels), 0.1 * sparse_ce(logits, labels) + reverse)


def test_nce_is_the_share_of_the_label_in_the_cross_entropies_of_all(logits, labels):
    each = torch.stack([sparse_ce(logits, torch.full_like(labels, k)) for k in range(C)])

    equal(nce(logits, labels), sparse_ce(logits, labels) / each.sum(dim=0))


def test_bootstrapping_and_the_confidence_penalty_are_two_signs_of_entropy(logits, labels):
    entropy = torch.distributions.Categorical(logits=logits).entropy()
    nll = sparse_ce(logits, labels)

    equal(bootstrap_soft(logits, labels, beta=0.8), 0.8 * nll + 0.2 * entropy)
    equal(confidence_penalty(logits, labels, beta=0.2), nll - 0.2 * entropy)


def test_logit_norm_is_cross_entropy_on_a_sphere(logits, labels):
    sphere = F.normalize(logits, dim=1) / 0.04

    equal(logit_norm(logits, labels), sparse_ce(sphere, labels), rtol=1e-6, atol=1e-6)
    equal(logit_norm(7 * logits, labels), logit_norm(logits, labels), rtol=1e-6, atol=1e-6)


def test_margin_smoothing_charges_what_lies_beyond_the_margin():
    logits, first = torch.tensor([[13.0, 1.0, 0.0]]), torch.tensor([0])

    equal(margin_smoothing(logits, first), sparse_ce(logits, first) + 0.1 * (0 + 2 + 3) / 3)


def test_the_rarest_class_has_the_widest_margin_in_ldam():
    zeros, counts = torch.zeros(2, 2).double(), torch.tensor([16, 1])
    value = ldam(zeros, torch.tensor([0, 1]), class_counts=counts)

    equal(value, torch.tensor([math.log(1 + math.exp(m)) for m in (0.25, 0.5)]).double())


# --- squares, focal loss, hinge and cross-entropy in numbers ---


def test_brier_is_c_times_mse(logits, one_hot):
    equal(brier(logits, one_hot), C * mse(logits, one_hot))


def test_brier_is_two_for_a_certain_wrong_answer():
    wrong = torch.tensor([[80.0, 0.0, 0.0]])

    assert brier(wrong, torch.tensor([[0.0, 1.0, 0.0]])).item() == 2


def test_focal_weighs_by_doubt(logits, labels, p_y):
    equal(focal(logits, labels, gamma=3.0), -((1 - p_y) ** 3) * p_y.log())


@pytest.mark.parametrize("gamma", [0.5, 1.0, 5.0])
def test_focal_has_a_finite_gradient_where_there_is_no_doubt(gamma):
    certain = torch.tensor([[200.0, 0.0]], requires_grad=True)
    focal(certain, torch.tensor([0]), gamma=gamma).sum().backward()

    assert certain.grad.isfinite().all()


def test_square_is_the_mean_squared_distance_to_one_hot(logits, labels, one_hot):
    equal(square(logits, labels), (logits - one_hot).square().mean(dim=1))


def test_square_weighs_the_whole_square_of_the_true_class(logits, labels, one_hot):
    weight = 1 + 14 * one_hot

    expected = (weight * (logits - 30 * one_hot).square()).mean(dim=1)
    equal(square(logits, labels, k=15.0, M=30.0), expected)


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
