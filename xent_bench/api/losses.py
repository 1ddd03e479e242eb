"""The losses of conf/loss as functions of outputs and target, for any training loop in PyTorch."""

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from xent_bench.config.configure import ConfigError, configured
from xent_bench.config.nearest import nearest
from xent_bench.config.schema import CONF
from xent_bench.config.signatures import parameter_names
from xent_bench.config.targets import encode, target_kind
from xent_bench.links import link_of

if TYPE_CHECKING:
    from xent_bench.links import BoundLink

COUNTS = "class_counts"
OFF_ONE = 0.01  # soft labels in half precision may miss a sum of 1 by this


class Loss:
    """A loss with its hyper-parameters: a function of raw outputs and target.

    name: as in conf/loss, such as 'focal'.
    parameters: the hyper-parameters in use, by name.
    link: reads raw outputs as log-probabilities, for `xb.score(outputs, target, link=loss.link)`.
    link_name: that of the link: softmax, sigmoid, ... or margin, which gives no probabilities.
    formula: the first line of the loss's docstring.
    """

    def __init__(self, name: str, function: "partial[Any]") -> None:
        """Keep the loss `function`, whose hyper-parameters are bound and checked."""
        self.name = name
        self.parameters: dict[str, Any] = dict(function.keywords)
        self._function = function
        self._kind = target_kind(function.func)

    def __call__(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Value of each example, (n,), not reduced: call `.mean()` on it to train.

        `outputs` are raw outputs (n, classes); `target` is the index of each true class in int64,
        (n,), or soft labels (n, classes). ValueError for other shapes, for soft labels where the
        loss takes the index of a class, for class counts of another number of classes, and on a
        CPU for labels that are no classes, as -100, and soft labels that are no distributions: on
        a GPU each step would wait for that answer.
        """
        for name, given in (("outputs", outputs), ("target", target)):
            if not isinstance(given, Tensor):
                raise ValueError(f"{name}: expected a tensor of PyTorch, got {type(given)}")
        if outputs.ndim != 2 or not outputs.is_floating_point():
            got = f"{outputs.dtype} of shape {tuple(outputs.shape)}"
            raise ValueError(f"outputs: expected floats of shape (n, classes), got {got}")
        counts = self._function.keywords.get(COUNTS)
        if counts is not None and len(counts) != outputs.shape[1]:
            raise ValueError(
                f"outputs: expected {len(counts)} classes, one for each of {COUNTS}, got "
                f"{outputs.shape[1]}"
            )
        value: Tensor = self._on(outputs)(outputs, self._encoded(outputs, target))
        return value

    def __repr__(self) -> str:
        """Write the call that makes the loss, and its formula."""
        words = [repr(self.name), *(f"{key}={value!r}" for key, value in self.parameters.items())]
        return f"xent_bench.loss({', '.join(words)})  # {self.formula} link: {self.link_name}"

    @property
    def link(self) -> "BoundLink":
        """The function from raw outputs (n, classes) in NumPy to log-probabilities, or to None."""
        return link_of(self._function)

    @property
    def link_name(self) -> str:
        """The name of the link's function."""
        return self.link.func.__name__

    @property
    def formula(self) -> str:
        """The value for one example, as the loss's docstring gives it."""
        return (self._function.func.__doc__ or "").partition("\n")[0]

    def _encoded(self, outputs: Tensor, target: Tensor) -> Tensor:
        n, classes = outputs.shape
        if target.is_floating_point():
            if tuple(target.shape) != (n, classes):
                expected = f"soft labels of shape {(n, classes)}"
                raise ValueError(f"target: expected {expected}, got {tuple(target.shape)}")
            if self._kind == "Index":
                raise ValueError(
                    f"target: {self.name} takes the index of the true class, int64 of shape "
                    f"({n},), got soft labels; ce takes these, for one"
                )
            _check_values(target, classes)
            return target.to(outputs.dtype)
        if tuple(target.shape) != (n,) or target.dtype != torch.int64:
            got = f"{target.dtype} of shape {tuple(target.shape)}"
            raise ValueError(f"target: expected int64 of shape ({n},), got {got}")
        _check_values(target, classes)
        return encode(target, self._kind, classes)

    def _on(self, outputs: Tensor) -> "partial[Any]":
        """Return the function with its class counts on the device of the outputs."""
        counts = self._function.keywords.get(COUNTS)
        if counts is not None and counts.device != outputs.device:
            counts = counts.to(outputs.device)
            self._function = partial(self._function, class_counts=counts)
        return self._function


def loss(name: str, /, **hyper_parameters: Any) -> Loss:
    """Make a loss by its name, with its hyper-parameters checked against their ranges.

        criterion = xb.loss("focal", gamma=2)
        criterion(logits, target).mean().backward()

    `xb.loss_names()` lists the names; a hyper-parameter that is left out has its default. A loss
    for classes of different sizes takes `class_counts`, the number of training examples of each
    class. ValueError for an unknown name or key, or a value out of range.
    """
    if name not in loss_names():
        raise ConfigError(name, f"no such loss; {nearest(name, loss_names())}")
    node = OmegaConf.to_container(OmegaConf.load(CONF / "loss" / f"{name}.yaml"))
    assert isinstance(node, dict)
    counts = hyper_parameters.pop(COUNTS, None)
    needs_counts = COUNTS in parameter_names(str(node["_target_"]))
    if needs_counts != (counts is not None):
        complaint = "has to be given: the number of training examples of each class"
        raise ConfigError(f"loss.{COUNTS}", complaint if needs_counts else f"no key of {name}")
    plain = {key: _plain(value) for key, value in hyper_parameters.items()}
    merged = OmegaConf.merge(node, OmegaConf.create(plain))
    if missing := OmegaConf.missing_keys(merged):
        raise ConfigError(f"loss.{min(missing)}", "has to be given")
    function = configured(OmegaConf.create({"loss": merged}), "loss")
    if counts is not None:
        function = partial(function, class_counts=_checked(counts))
    return Loss(name, function)


def loss_names() -> list[str]:
    """Names of all losses, in the order of the alphabet."""
    return sorted(file.stem for file in (CONF / "loss").glob("*.yaml"))


def _plain(value: Any) -> Any:
    """Return a NumPy number or array, which a config cannot hold, as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value


def _check_values(target: Tensor, classes: int) -> None:
    """Raise a ValueError for labels that are no classes, or no distributions; on a CPU alone.

    PyTorch's cross-entropy gives label -100 the value 0 without a word.
    """
    if target.device.type != "cpu" or not len(target) or torch.compiler.is_compiling():
        return
    if not target.is_floating_point():
        low, high = int(target.min()), int(target.max())
        if low < 0 or high >= classes:
            raise ValueError(
                f"target: expected classes from 0 to {classes - 1}, got {low} to {high}"
            )
        return
    sums = target.detach().double().sum(dim=1)
    if not bool((target >= 0).all() and ((sums - 1).abs() < OFF_ONE).all()):
        least, most = float(sums.min()), float(sums.max())
        raise ValueError(
            "target: expected soft labels, rows of at least 0 that sum to 1, got sums from "
            f"{least:.4g} to {most:.4g} and values from {float(target.min()):.4g}"
        )


def _checked(counts: Any) -> Tensor:
    tensor = torch.as_tensor(counts)
    if tensor.ndim != 1 or not len(tensor) or not bool((tensor > 0).all()):
        raise ConfigError(f"loss.{COUNTS}", f"expected a number above 0 for each class: {counts}")
    return tensor
