"""The losses against independent public implementations: PyTorch, torchvision, Keras and optax."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import pytest
import torch
from scipy.special import rel_entr
from sklearn.metrics import mean_pinball_loss
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import sigmoid_focal_loss

from xent_bench.links import simplex
from xent_bench.losses.bce import bce
from xent_bench.losses.brier import brier
from xent_bench.losses.categorical_hinge import categorical_hinge
from xent_bench.losses.ce import ce
from xent_bench.losses.focal import focal
from xent_bench.losses.gce import gce
from xent_bench.losses.hinge import hinge
from xent_bench.losses.huber import huber
from xent_bench.losses.kl import kl
from xent_bench.losses.label_smoothing import label_smoothing
from xent_bench.losses.log_cosh import log_cosh
from xent_bench.losses.mae import mae
from xent_bench.losses.mse import mse
from xent_bench.losses.ovr_hinge import ovr_hinge
from xent_bench.losses.ovr_squared_hinge import ovr_squared_hinge
from xent_bench.losses.poly1 import poly1
from xent_bench.losses.quantile import quantile
from xent_bench.losses.sigmoid_focal import sigmoid_focal
from xent_bench.losses.sparse_ce import sparse_ce
from xent_bench.losses.square import square
from xent_bench.losses.squared_hinge import squared_hinge
from xent_bench.losses.weighted_ce import weighted_ce
from xent_bench.losses.weston_watkins import weston_watkins

N, C = 40, 6
COUNTS = torch.tensor([400, 90, 40, 25, 8, 3])


class Batch(NamedTuple):
    """Outputs, true classes, these as one-hot rows, and soft labels with zeros among them."""

    z: Tensor
    y: Tensor
    e: Tensor
    q: Tensor


@pytest.fixture
def batch(rng: torch.Generator) -> Batch:
    z = 3 * torch.randn(N, C, generator=rng, dtype=torch.float64)
    y = torch.randint(C, (N,), generator=rng)
    soft = torch.rand(N, C, generator=rng, dtype=torch.float64)
    soft = torch.where(soft > 0.3, soft, 0.0).scatter(1, y[:, None], 1.0)
    return Batch(z.requires_grad_(), y, F.one_hot(y, C).double(), soft / soft.sum(1, keepdim=True))


@pytest.fixture(scope="module", autouse=True)
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Both in float64, Keras on torch and with its settings kept away from home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        importlib.import_module("keras").config.set_floatx("float64")
        with jax.enable_x64(True):
            yield


def keras(name: str, target: Tensor, output: Tensor, **options: Any) -> Tensor:
    """A function of keras.losses, on torch, with a gradient; some drop to float32 on the way."""
    function = getattr(importlib.import_module("keras").losses, name)
    return function(target, output, **options).float()


def through_jax(function: Callable[..., Any], *tensors: Tensor, **options: Any) -> Tensor:
    """A function of optax: its values alone."""
    arrays = [tensor.detach().numpy() for tensor in tensors]
    return torch.tensor(np.asarray(function(*arrays, **options)))


ORACLES: list[tuple[str, Callable[[Batch], Tensor], Callable[[Batch], Tensor]]] = [
    (
        "ce: optax",
        lambda b: ce(b.z, b.q),
        lambda b: through_jax(optax.softmax_cross_entropy, b.z, b.q),
    ),
    (
        "sparse_ce: optax",
        lambda b: sparse_ce(b.z, b.y),
        lambda b: through_jax(optax.softmax_cross_entropy_with_integer_labels, b.z, b.y),
    ),
    (
        "sparse_ce: Keras",
        lambda b: sparse_ce(b.z, b.y),
        lambda b: keras("sparse_categorical_crossentropy", b.y, b.z, from_logits=True),
    ),
    (
        "label_smoothing: Keras",
        lambda b: label_smoothing(b.z, b.e, smoothing=0.2),
        lambda b: keras(
            "categorical_crossentropy", b.e, b.z, from_logits=True, label_smoothing=0.2
        ),
    ),
    (
        "label_smoothing: optax",
        lambda b: label_smoothing(b.z, b.q, smoothing=0.2),
        lambda b: through_jax(
            lambda z, q: optax.softmax_cross_entropy(z, optax.smooth_labels(q, 0.2)), b.z, b.q
        ),
    ),
    (
        "weighted_ce: torch",
        lambda b: weighted_ce(b.z, b.y, class_counts=COUNTS),
        lambda b: F.cross_entropy(
            b.z, b.y, weight=COUNTS.sum() / (C * COUNTS.double()), reduction="none"
        ),
    ),
    (
        "kl: optax",
        lambda b: kl(b.z, b.q),
        lambda b: through_jax(optax.kl_divergence, b.z.log_softmax(1), b.q),
    ),
    (
        "kl: SciPy",
        lambda b: kl(b.z, b.q),
        lambda b: torch.tensor(rel_entr(b.q.numpy(), b.z.detach().softmax(1).numpy())).sum(1),
    ),
    (
        "bce: optax",
        lambda b: bce(b.z, b.q),
        lambda b: through_jax(optax.sigmoid_binary_cross_entropy, b.z, b.q).sum(1),
    ),
    (
        "bce: Keras",
        lambda b: bce(b.z, b.e),
        lambda b: C * keras("binary_crossentropy", b.e, b.z, from_logits=True),
    ),
    (
        "mse: Keras",
        lambda b: mse(b.z, b.q),
        lambda b: keras("mean_squared_error", b.q, b.z.softmax(1)),
    ),
    (
        "brier: Keras",
        lambda b: brier(b.z, b.q),
        lambda b: C * keras("mean_squared_error", b.q, b.z.softmax(1)),
    ),
    (
        "mae: Keras",
        lambda b: mae(b.z, b.q),
        lambda b: C * keras("mean_absolute_error", b.q, b.z.softmax(1)),
    ),
    (
        "square: optax",
        lambda b: square(b.z, b.y),
        lambda b: through_jax(optax.squared_error, b.z, b.e).mean(1),
    ),
    (
        "huber: Keras",
        lambda b: huber(b.z, b.q, delta=0.7),
        lambda b: keras("huber", b.q, b.z, delta=0.7),
    ),
    (
        "huber: optax",
        lambda b: huber(b.z, b.q, delta=0.7),
        lambda b: through_jax(optax.huber_loss, b.z, b.q, delta=0.7).mean(1),
    ),
    ("log_cosh: Keras", lambda b: log_cosh(b.z, b.q), lambda b: keras("log_cosh", b.q, b.z)),
    (
        "log_cosh: optax",
        lambda b: log_cosh(b.z, b.q),
        lambda b: through_jax(optax.log_cosh, b.z, b.q).mean(1),
    ),
    (
        "quantile: scikit-learn",
        lambda b: quantile(b.z, b.q, tau=0.3),
        lambda b: torch.tensor(
            mean_pinball_loss(b.q.T, b.z.detach().T, alpha=0.3, multioutput="raw_values")
        ),
    ),
    (
        "hinge: optax",
        lambda b: hinge(b.z, b.y),
        lambda b: through_jax(optax.losses.multiclass_hinge_loss, b.z, b.y),
    ),
    (
        "squared_hinge: optax",
        lambda b: squared_hinge(b.z, b.y),
        lambda b: through_jax(optax.losses.multiclass_hinge_loss, b.z, b.y) ** 2,
    ),
    (
        "categorical_hinge: Keras",
        lambda b: categorical_hinge(b.z, b.y),
        lambda b: keras("categorical_hinge", b.e, b.z),
    ),
    (
        "weston_watkins: torch",
        lambda b: weston_watkins(b.z, b.y, margin=0.5),
        lambda b: C * F.multi_margin_loss(b.z, b.y, margin=0.5, reduction="none"),
    ),
    (
        "ovr_hinge: Keras",
        lambda b: ovr_hinge(b.z, b.y),
        lambda b: C * keras("hinge", 2 * b.e - 1, b.z),
    ),
    (
        "ovr_squared_hinge: Keras",
        lambda b: ovr_squared_hinge(b.z, b.y),
        lambda b: C * keras("squared_hinge", 2 * b.e - 1, b.z),
    ),
    (
        "focal: Keras",
        lambda b: focal(b.z, b.y, gamma=1.5),
        lambda b: keras(
            "categorical_focal_crossentropy", b.e, b.z, alpha=1.0, gamma=1.5, from_logits=True
        ),
    ),
    (
        "sigmoid_focal: torchvision",
        lambda b: sigmoid_focal(b.z, b.y, alpha=0.4, gamma=1.5),
        lambda b: sigmoid_focal_loss(b.z, b.e, alpha=0.4, gamma=1.5).sum(1),
    ),
    (
        "sigmoid_focal: optax",
        lambda b: sigmoid_focal(b.z, b.y, alpha=0.4, gamma=1.5),
        lambda b: through_jax(optax.sigmoid_focal_loss, b.z, b.e, alpha=0.4, gamma=1.5).sum(1),
    ),
    (
        "poly1: optax",
        lambda b: poly1(b.z, b.y, epsilon=2.0),
        lambda b: through_jax(optax.losses.poly_loss_cross_entropy, b.z, b.e, epsilon=2.0),
    ),
    (
        "gce: Keras",
        lambda b: gce(b.z, b.y, q=0.7),
        lambda b: keras("categorical_generalized_cross_entropy", b.y, b.z.softmax(1), q=0.7),
    ),
]


@pytest.mark.parametrize(
    ("ours", "theirs"), [row[1:] for row in ORACLES], ids=[r[0] for r in ORACLES]
)
def test_the_value_and_where_there_is_one_the_gradient_are_those_of(batch, ours, theirs):
    value, expected = ours(batch), theirs(batch)

    single = expected.dtype is torch.float32
    close = {"rtol": 1e-6, "atol": 1e-6} if single else {"rtol": 1e-12, "atol": 1e-14}
    torch.testing.assert_close(value, expected.double(), **close)
    if expected.requires_grad:
        ours_grad, expected_grad = (
            torch.autograd.grad(v.sum(), batch.z, retain_graph=True)[0] for v in (value, expected)
        )
        torch.testing.assert_close(ours_grad, expected_grad, **close)


def test_the_projection_onto_the_simplex_is_that_of_optax(batch):
    projection = jax.vmap(optax.projections.projection_simplex)

    projected = torch.from_numpy(simplex(batch.z.detach().numpy())).exp()
    torch.testing.assert_close(projected, through_jax(projection, batch.z))
