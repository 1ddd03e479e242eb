"""What holds for every loss in conf/loss, a new one included.

None is named but where it is declared, with the reason, not to have a property.
"""

import inspect
import re
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra.utils import get_method
from omegaconf import OmegaConf
from torch.nn import functional as F

from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.rules import OFFERED
from xent_bench.config.schema import CONF
from xent_bench.config.targets import encode, target_kind
from xent_bench.links import link_of
from xent_bench.offer import offer
from xent_bench.types import ClassCounts

FILES = sorted((CONF / "loss").glob("*.yaml"))
N, C = 6, 5
COUNTS = torch.tensor([50, 20, 10, 5, 1])  # of the classes, for a loss that asks for them

# What a property does not hold for, and why; it must then fail.
NO_RISE = {
    "logit_norm": "raises the normalised score; z itself it can only turn, not lengthen",
    "quantile": "moves every output by the same step towards 0 or 1, wrong ones below 0 upwards",
}


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def loss(file: Path) -> partial:
    """As a run gets it."""
    node = OmegaConf.create({"loss": OmegaConf.load(file)})
    return offer(configured(node, "loss"), class_counts=COUNTS)


def draw(loss: partial, rng: torch.Generator, scale: float = 2.0, n: int = N):
    """Logits, target as the loss wants it, labels."""
    logits = scale * torch.randn(n, C, generator=rng, dtype=torch.float64)
    labels = torch.randint(C, (n,), generator=rng)
    return logits, encoded(loss, labels), labels


def encoded(loss: partial, labels: torch.Tensor) -> torch.Tensor:
    target = encode(labels, target_kind(loss.func), C)
    return target.double() if target.is_floating_point() else target


def test_file_function_and_yaml_share_a_name(file):
    node = yaml.safe_load(file.read_text())

    assert node["_target_"] == f"xent_bench.losses.{file.stem}.{file.stem}"


def test_the_yaml_states_the_defaults_of_the_function(file):
    node = OmegaConf.to_container(OmegaConf.load(file))
    parameters = inspect.signature(get_method(node.pop("_target_"))).parameters.values()

    keyword_only = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    offered = OFFERED["loss"] & keyword_only.keys()
    assert {k: v for k, v in keyword_only.items() if k not in offered} == node
    assert {keyword_only[name] for name in offered} <= {inspect.Parameter.empty}


def test_the_docstring_gives_a_formula_and_the_module_a_source(loss):
    formula, source = inspect.getdoc(loss.func), inspect.getdoc(inspect.getmodule(loss.func))

    assert re.search(r"[a-z]_[a-z]|[()^+-]", formula.splitlines()[0])
    assert re.search(r"\b(19|20)\d\d\b|arXiv:", source)


def test_the_value_is_one_number_an_example(loss, rng):
    logits, target, _ = draw(loss, rng)

    assert loss(logits, target).shape == (N,)


def test_examples_are_independent(loss, rng):
    logits, target, _ = draw(loss, rng)

    one_by_one = torch.cat([loss(logits[[i]], target[[i]]) for i in range(N)])
    torch.testing.assert_close(loss(logits, target), one_by_one)


def test_classes_are_exchangeable(loss, rng):
    logits, target, labels = draw(loss, rng)
    order = torch.randperm(C, generator=rng)
    renamed = encoded(loss, order.argsort()[labels])
    hyper = {name: value for name, value in loss.keywords.items() if name != "class_counts"}
    same_loss = offer(partial(loss.func, **hyper), class_counts=COUNTS[order])

    torch.testing.assert_close(same_loss(logits[:, order], renamed), loss(logits, target))


def test_the_gradient_is_that_of_finite_differences(loss, rng):
    logits, target, _ = draw(loss, rng)

    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_())


@pytest.mark.parametrize("low", [0.0, -80.0])  # beyond a distance of 104, exp underflows to 0
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_value_and_gradient_are_finite_at_extreme_logits(loss, sign, low):
    labels = torch.arange(C)
    target = encode(labels, target_kind(loss.func), C)
    logits = sign * torch.where(F.one_hot(labels, C) == 1, 80.0, low).requires_grad_()
    logits.retain_grad()

    value = loss(logits, target)
    value.sum().backward()

    assert value.isfinite().all()
    assert logits.grad.isfinite().all()


def test_a_gradient_step_raises_the_score_of_the_true_class(loss, rng, request):
    if loss.func.__name__ in NO_RISE:
        reason = NO_RISE[loss.func.__name__]
        request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
    logits, target, labels = draw(loss, rng, scale=0.3, n=200)
    loss(logits.requires_grad_(), target).sum().backward()
    # of one length for all: logit_norm's gradient is a hundred times that of others
    stepped = logits - 0.01 * F.normalize(logits.grad, dim=1)

    def lead(z: torch.Tensor) -> torch.Tensor:
        return z.log_softmax(dim=1).gather(1, labels[:, None])

    assert (lead(stepped) > lead(logits)).all()


def test_every_hyper_parameter_has_a_range(file):
    hyper = inspect.signature(get_method(yaml.safe_load(file.read_text())["_target_"])).parameters
    annotations = [p.annotation for p in hyper.values() if p.kind is p.KEYWORD_ONLY]

    for annotation in annotations:
        assert annotation is ClassCounts or getattr(annotation, "__metadata__", ()), annotation


@pytest.mark.parametrize(
    ("assignment", "outside"),
    [
        *(("focal.gamma=0", False), ("focal.gamma=-0.001", True)),
        *(("label_smoothing.smoothing=0", False), ("label_smoothing.smoothing=1", False)),
        *(("gce.q=0", True), ("gce.q=1", False)),
        *(("poly1.epsilon=-1", False), ("poly1.epsilon=-1.001", True)),
        *(("taylor_ce.t=1", False), ("taylor_ce.t=0", True)),
        *(("taylor_ce.t=1000", False), ("taylor_ce.t=1001", True)),
    ],
)
def test_the_edge_of_a_domain_is_accepted_where_it_belongs_to_it(assignment, outside):
    name, key, value = re.split("[.=]", assignment, maxsplit=2)
    node = OmegaConf.create({"loss": OmegaConf.load(CONF / "loss" / f"{name}.yaml")})
    node.loss[key] = yaml.safe_load(value)

    with pytest.raises(ConfigError) if outside else nullcontext():
        configured(node, "loss")


def test_the_link_gives_probabilities_or_says_that_there_are_none(loss, rng):
    logits, *_ = draw(loss, rng)
    log_p = link_of(loss)(logits.detach().numpy())

    if log_p is not None:
        np.testing.assert_allclose(np.exp(log_p).sum(axis=1), np.ones(N))
        assert (log_p.argmax(axis=1) == logits.argmax(dim=1).numpy()).all()
