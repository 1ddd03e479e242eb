"""What holds for every loss in conf/loss, a new one included: nothing here names one."""

import inspect
import re
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from hydra.utils import get_method
from omegaconf import OmegaConf
from torch.nn import functional as F

from xent_bench.configure import configured
from xent_bench.links import link_of
from xent_bench.schema import CONF
from xent_bench.targets import encode, target_kind

FILES = sorted((CONF / "loss").glob("*.yaml"))
N, C = 6, 5


@pytest.fixture(params=FILES, ids=lambda file: file.stem)
def file(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def loss(file: Path) -> partial:
    """As a run gets it."""
    return configured(OmegaConf.create({"loss": OmegaConf.load(file)}), "loss")


def draw(
    loss: partial, rng: torch.Generator, scale: float = 2.0, dtype: torch.dtype = torch.float64
):
    logits = scale * torch.randn(N, C, generator=rng, dtype=dtype)
    labels = torch.randint(C, (N,), generator=rng)
    return (
        logits,
        encode(labels, target_kind(loss.func), C).to(
            dtype if target_kind(loss.func) == "Distribution" else torch.long
        ),
        labels,
    )


def test_file_function_and_yaml_share_a_name(file):
    node = yaml.safe_load(file.read_text())

    assert node["_target_"] == f"xent_bench.losses.{file.stem}.{file.stem}"
    assert node["_partial_"] is True


def test_the_yaml_states_the_defaults_of_the_function(file):
    node = OmegaConf.to_container(OmegaConf.load(file))
    parameters = inspect.signature(get_method(node.pop("_target_"))).parameters.values()
    node.pop("_partial_")

    keyword_only = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
    assert {p.name: p.default for p in keyword_only} == node


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
    renamed = encode(order.argsort()[labels], target_kind(loss.func), C)
    renamed = renamed.to(target.dtype)

    torch.testing.assert_close(loss(logits[:, order], renamed), loss(logits, target))


def test_the_gradient_is_that_of_finite_differences(loss, rng):
    logits, target, _ = draw(loss, rng)

    assert torch.autograd.gradcheck(lambda z: loss(z, target), logits.requires_grad_())


@pytest.mark.parametrize("sign", [80.0, -80.0])
def test_value_and_gradient_are_finite_at_extreme_logits(loss, sign):
    labels = torch.arange(C)
    target = encode(labels, target_kind(loss.func), C)
    logits = (sign * F.one_hot(labels, C)).float().requires_grad_()

    value = loss(logits, target)
    value.sum().backward()

    assert value.isfinite().all()
    assert logits.grad.isfinite().all()


def test_a_gradient_step_raises_the_score_of_the_true_class(loss, rng):
    logits, target, labels = draw(loss, rng, scale=0.3)
    loss(logits.requires_grad_(), target).sum().backward()
    stepped = logits - 0.1 * logits.grad

    def lead(z: torch.Tensor) -> torch.Tensor:
        return z.log_softmax(dim=1).gather(1, labels[:, None])

    assert (lead(stepped) > lead(logits)).all()


def test_the_link_gives_probabilities_or_says_that_there_are_none(loss, rng):
    logits, *_ = draw(loss, rng)
    log_probabilities = link_of(loss)(logits)

    if log_probabilities is not None:
        torch.testing.assert_close(log_probabilities.exp().sum(dim=1), torch.ones(N).double())
        assert (log_probabilities.argmax(dim=1) == logits.argmax(dim=1)).all()
