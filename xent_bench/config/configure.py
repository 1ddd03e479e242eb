"""Checks of a config, and the callable that a choice of a loss, a data set, a net, ... stands for.

The target's own signature is the contract: the names of its parameters are the keys that exist, and
their annotations give type and range. Hydra's `instantiate` is not used: its partial looks the
target up again in every call, which costs more than a loss does.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from functools import cache, partial
from inspect import Parameter, isclass, signature
from typing import Any, Self, cast, get_type_hints
from urllib.parse import urlsplit

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from xent_bench.addresses import holds_secret
from xent_bench.config.annotations import LONGEST_TEXT, complaint_of_name, complaint_of_tags
from xent_bench.config.choice_of_epoch import complaint_of_metric
from xent_bench.config.condition_keys import complaint_of_conditions
from xent_bench.config.design_keys import complaint_of_design
from xent_bench.config.imports import import_complaint, raises_by_itself
from xent_bench.config.nearest import nearest
from xent_bench.config.net_arguments import ByName, passed_by_name
from xent_bench.config.net_options import NAMES, NetOptions, complaint_of_trainable, taken_out
from xent_bench.config.neutral_keys import without_neutral_keys
from xent_bench.config.promises import broken_promise
from xent_bench.config.rules import Rules, hyper_parameters, rules_for
from xent_bench.config.schema import GROUPS, Compile, Train, chosen_values, plain, typed_tags
from xent_bench.config.shift_asked import complaint_of_shift
from xent_bench.config.signatures import parameter_names, read_parameters
from xent_bench.config.together_key import complaint_of_together

WITH_GRAPHS = (Compile.reduce_overhead, Compile.max_autotune)
EXAMPLES = {
    "root": ", as in data.root=/path/to/images",
    "name": ", as in model.name=resnet18",
    "matrix": ", as in noise.matrix=matrix.npy",
    "labels": ", as in noise.labels=labels.npy",
    "_target_": ", as in model._target_=my_module.MyNet",
}


class ConfigError(ValueError):
    """An error in the config; `key` is the key at fault."""

    def __init__(self, key: str, complaint: str) -> None:
        """Make the message; `key` is written as the user would type it."""
        super().__init__(f"{key}: {complaint}")
        self.key, self.complaint = key, complaint

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Say how to pickle the error, so that it can be sent to another process."""
        return type(self), (self.key, self.complaint)


def check_top_level(config: DictConfig) -> None:
    """Check types and ranges of everything but the groups' own keys; nothing heavy is imported."""
    keys = [str(key) for key in config if key != "hydra"]
    ours = OmegaConf.masked_copy(config, keys) if len(keys) < len(config) else config  # slow
    names = [field.name for field in fields(Train)]
    missing = OmegaConf.missing_keys(ours) | {name for name in names if name not in ours}
    if missing:
        key = min(missing)
        raise ConfigError(key, f"has to be given{EXAMPLES.get(key.rpartition('.')[2], '')}")
    if "root" in config.data and config.data.root is config.data.get("train", ...) is None:
        way = "as in data.root=/path/to/images, or data.train=FOLDER and data.test=FOLDER"
        raise ConfigError("data.root", f"has to be given, {way}")
    _validate(_top_level(), plain(ours), prefix="")
    for group in GROUPS:
        target = config[group].get("_target_")
        if not isinstance(target, str) or not target:
            raise ConfigError(f"{group}._target_", f"expected a dotted name, got {target!r}")
    _check_batches(config)
    if complaint := complaint_of_metric(config.choose_by):
        raise ConfigError("choose_by", complaint)
    for complaint_of in (
        *(complaint_of_design, complaint_of_shift),
        *(complaint_of_conditions, complaint_of_together),
    ):
        if key_and_complaint := complaint_of(config):
            raise ConfigError(*key_and_complaint)
    _check_annotations(config)
    _check_tracking(config.machine.tracking or "")


def _check_annotations(config: DictConfig) -> None:
    key = "experiment" if config.name == config.experiment else "name"
    if complaint := complaint_of_name(str(config.name)):
        raise ConfigError(key, complaint)
    if complaint := complaint_of_tags(typed_tags(config)):
        raise ConfigError("tags", complaint)
    if (length := len(config.notes or "")) > LONGEST_TEXT:
        raise ConfigError("notes", f"expected at most {LONGEST_TEXT} characters, got {length}")


def _check_tracking(uri: str) -> None:
    try:
        if not holds_secret(uri):
            _ = urlsplit(uri).port
    except ValueError as error:
        raise ConfigError(
            "machine.tracking", f"{error}; expected as in http://HOST:5000"
        ) from error
    if holds_secret(uri):
        raise ConfigError(
            "machine.tracking",
            "holds a password or a token, which every record of the run would show; expected it in "
            "the environment: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or "
            "MLFLOW_TRACKING_URI",
        )


def _check_batches(config: DictConfig) -> None:
    if config.batch_size % config.accumulate:
        got = f"{config.batch_size} and {config.accumulate}"
        raise ConfigError("accumulate", f"expected a divisor of batch_size, got {got}")
    if config.batch_size // config.accumulate % config.machine.devices:
        got = f"{config.batch_size // config.accumulate} and {config.machine.devices}"
        raise ConfigError("machine.devices", f"expected to share a batch equally, got {got}")
    if config.accumulate > 1 and config.machine.compile in WITH_GRAPHS:
        raise ConfigError(
            "accumulate",
            "a CUDA graph overwrites the gradient of the part before; "
            "expected machine.compile=default or none",
        )


def check_sources(config: DictConfig) -> None:
    """Refuse hyper-parameters that the targets' sources show to be wrong; imports no target."""
    for group in GROUPS:
        target, values = _target_and_values(config, group)
        rules = _rules_in_source(group, target, frozenset(values))
        if rules is not None:
            _validate(rules, values, prefix=f"{group}.")
        if group == "model":
            net_options(config)


def net_options(config: DictConfig) -> NetOptions:
    """The options of the net that the harness acts on, checked; defaults where none is given."""
    target, values = _target_and_all_values(config, "model")
    _, options = taken_out(values, parameter_names(str(target)))
    checked = cast(NetOptions, _validate(_option_rules(), options, prefix="model."))
    if complaint := complaint_of_trainable(checked.trainable):
        raise ConfigError("model.trainable", complaint)
    return checked


def values_in_use(config: DictConfig, group: str) -> dict[str, Any]:
    """A group's `_target_` and hyper-parameters, each of the type that its target asks for.

    0.001 for the text '1e-3', false for off. Values are as written where the target's source does
    not tell, or where they are wrong, which `check_sources` refuses.
    """
    target, values = _target_and_values(config, group)
    rules = _rules_in_source(group, str(target), frozenset(values))
    if rules is not None:
        with suppress(ConfigError):
            values = _validate(rules, values, prefix=f"{group}.")
    return {"_target_": target, **values}


def function_values(config: DictConfig, group: str) -> dict[str, Any]:
    """The hyper-parameters of a group's function, as `values_in_use` gives them."""
    values = values_in_use(config, group)
    return {key: value for key, value in values.items() if key != "_target_"}


def defaults_in_source(config: DictConfig, group: str) -> dict[str, Any]:
    """The hyper-parameters that a config leaves out, with their defaults if these are literals."""
    target, values = _target_and_values(config, group)
    parameters = hyper_parameters(group, _parameters_in_source(str(target)) or (), values)
    return {
        parameter.name: parameter.default
        for parameter in parameters
        if parameter.name not in values and parameter.default not in (Parameter.empty, ...)
    }


def configured(config: DictConfig, group: str) -> "partial[Any]":
    """A group's choice as a callable, with its hyper-parameters checked and bound."""
    target, values = _target_and_values(config, group)
    logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)  # it logs errors, then raises them
    try:
        function = get_method(target)
        hints = _hints(function)
        parameters = [
            parameter.replace(annotation=hints.get(parameter.name, Any))
            for parameter in signature(function).parameters.values()
        ]
    except BaseException as error:  # whatever a user's module raises when it is imported
        if isinstance(error, KeyboardInterrupt) and not raises_by_itself(error):
            raise
        raise ConfigError(
            f"{group}._target_", f"cannot use {target}: {import_complaint(error, target)}"
        ) from error
    if complaint := broken_promise(group, target, function, hints):
        raise ConfigError(f"{group}._target_", complaint)
    rules = rules_for(group, parameters, values)
    if rules is not None:
        values = _validate(rules, values, prefix=f"{group}.")
    if group == "model":
        net_options(config)
        if names := passed_by_name(parameters, values):
            function = ByName(function, names)
    return partial(function, **values)


def _hints(function: Any) -> dict[str, Any]:
    """The annotations of a function, or of what a class is called with, as far as they resolve."""
    hints = get_type_hints(function, include_extras=True)
    if isclass(function):
        with suppress(Exception):  # a library's annotation may name what only type checkers import
            hints = get_type_hints(function.__init__, include_extras=True)
    return hints


def _target_and_values(config: DictConfig, group: str) -> tuple[str, dict[str, Any]]:
    """A group's target, and the values that are meant for it and not for the harness."""
    target, values = _target_and_all_values(config, group)
    if group == "model":
        values, _ = taken_out(values, parameter_names(str(target)))
    return target, without_neutral_keys(group, values, parameter_names(str(target)))


def _target_and_all_values(config: DictConfig, group: str) -> tuple[str, dict[str, Any]]:
    values = chosen_values(config, group)
    return values.pop("_target_", None), values


@cache
def _parameters_in_source(target: str) -> tuple[Parameter, ...] | None:
    try:
        return read_parameters(target)
    except Exception:  # no source can be a reason to end here: the import says what is wrong
        return None


@cache  # the runs of a sweep share most targets
def _rules_in_source(group: str, target: str, given: frozenset[str]) -> "Rules | None":
    try:
        parameters = _parameters_in_source(target)
        return None if parameters is None else rules_for(group, parameters, given)
    except Exception:  # pydantic cannot use an annotation before its module is imported
        return None


@cache  # shared by the runs of a sweep
def _top_level() -> Rules:
    from pydantic import TypeAdapter

    return TypeAdapter(Train), [field.name for field in fields(Train)]


@cache
def _option_rules() -> Rules:
    from pydantic import TypeAdapter

    return TypeAdapter(NetOptions), list(NAMES)


def _validate(rules: Rules, values: Any, prefix: str) -> Any:
    from pydantic import ValidationError

    adapter, keys = rules
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        first, *others = error.errors()
        name = _key(first["loc"])
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            options = NAMES if prefix == "model." else ()
            complaint = f"no such key; {nearest(name, {*keys, *options}, prefix)}"
        elif first["type"] == "missing":
            complaint = "has no default and was not given"
        else:
            # a value may be one of several kinds, each of which has its own complaint
            messages = [first["msg"], *(e["msg"] for e in others if _key(e["loc"]) == name)]
            expected = " or ".join(text.replace("Input should", "should") for text in messages)
            complaint = f"{expected}, got {first['input']!r}"
        raise ConfigError(prefix + name, complaint) from None


def _key(place: Sequence[int | str]) -> str:
    """The key at fault, without what pydantic adds to name one of several kinds of a value."""
    return ".".join(
        str(part)
        for part in place
        # nor the place of an item in a list, which is no key
        if isinstance(part, str) and not part.startswith(("constrained-", "literal["))
    )
