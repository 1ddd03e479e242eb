"""The five parts of a run, each resolved from its config and checked once, then handed on."""

from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

from omegaconf import DictConfig

from xent_bench.config.configure import ConfigError, check_top_level, configured, net_options
from xent_bench.config.first_weights import FirstWeights, first_weights, refusing
from xent_bench.config.net_options import NetOptions
from xent_bench.config.schema import GROUPS
from xent_bench.config.targets import Kind, target_kind
from xent_bench.offered_weights import library_of

OF_MODELS = ("onnx", "onnxruntime", "onnxscript")  # packages that write a net as an MLflow model


class Parts(NamedTuple):
    """Callables with their hyper-parameters bound, and the kind of target that the loss takes."""

    loss: "partial[Any]"  # (logits, target) -> one value for each example
    data: "partial[Any]"  # () -> ImageSet
    model: "partial[Any]"  # (shape, classes) -> net
    optimizer: "partial[Any]"  # (net) -> optimizer
    schedule: "partial[Any]"  # (step, steps) -> factor on the learning rate
    target: Kind
    net_options: NetOptions  # of the net, for the harness
    weights: FirstWeights | None  # that the net begins with


def resolve(config: DictConfig) -> Parts:
    """Import the code of each part and check its hyper-parameters.

    A ConfigError names the key at fault, also for a loss that does not say which target it takes,
    or that cannot take the labels that augmentation mixes.
    """
    callables = {group: configured(config, group) for group in GROUPS}
    target = target_kind(callables["loss"].func)
    mixing = [key for key in ("mixup", "cutmix") if config.augmentation[key]]
    if mixing and target == "Index":
        raise ConfigError(
            f"augmentation.{mixing[0]}",
            "mixes labels, but the loss takes the index of one class; "
            "choose a loss that takes a distribution, ce for one",
        )
    if config.machine.log_model and not all(find_spec(package) for package in OF_MODELS):
        raise ConfigError("machine.log_model", "needs pip install 'xent-bench[onnx]'")
    library = library_of(callables["model"].func)
    if library is not None:
        with refusing():
            library.check(callables["model"].keywords)
    return Parts(
        **callables,
        target=target,
        net_options=net_options(config),
        weights=first_weights(config),
    )


def settled(config: DictConfig, parts: Parts) -> DictConfig:
    """The config with every value of the type that its target asks for: 2 becomes 2.0 for a float.

    The given config is not changed.
    """
    result = config.copy()
    for group in GROUPS:
        for key, value in getattr(parts, group).keywords.items():
            result[group][key] = value
    for key, value in asdict(parts.net_options).items():
        if key in result.model:
            result.model[key] = value
    return result


def checked(config: DictConfig) -> DictConfig:
    """The config, settled, after every check that needs neither the images nor the device."""
    check_top_level(config)
    return settled(config, resolve(config))
