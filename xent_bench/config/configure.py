"""From a config's choice to a callable whose every hyper-parameter has been checked.

The target's own signature is the contract: its annotations say type and range, its names which
keys there are. No `instantiate`: Hydra's partial looks its target up again on every call, which
costs more than a loss does.
"""

from collections.abc import Sequence
from dataclasses import fields
from functools import cache, partial
from inspect import Parameter, signature
from typing import TYPE_CHECKING, Any, NotRequired, Required, Self, get_type_hints
from urllib.parse import urlsplit

from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from xent_bench.config.nearest import nearest
from xent_bench.config.schema import GROUPS, Compile, Train, chosen_values, plain
from xent_bench.config.signatures import read_parameters

if TYPE_CHECKING:
    from pydantic import TypeAdapter  # below where it is used: a sixth of what --help costs

    Rules = tuple[TypeAdapter[Any], list[str]]  # of values, and the keys there are

WITH_GRAPHS = (Compile.reduce_overhead, Compile.max_autotune)
# What the harness passes by position: (logits, target), (), (shape, classes), (net), (step, steps).
POSITIONAL = {"loss": 2, "data": 0, "model": 2, "optimizer": 1, "schedule": 2}
# What it offers by name to a target that asks for it, and nobody sets.
OFFERED = {"loss": {"class_counts"}}


class ConfigError(ValueError):
    """A key or a value that cannot be; `key` is the one at fault."""

    def __init__(self, key: str, complaint: str) -> None:
        """`key` as the user would type it."""
        super().__init__(f"{key}: {complaint}")
        self.key, self.complaint = key, complaint

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """To cross from one process to another."""
        return type(self), (self.key, self.complaint)


def checked(config: DictConfig) -> DictConfig:
    """The config with every value of the type that its target asks for: 2 where a float is, 2.0.

    A ConfigError refuses what training would stumble over later.
    """
    check_top_level(config)
    settled = config.copy()
    for group in GROUPS:
        for key, value in configured(config, group).keywords.items():
            settled[group][key] = value
    return settled


def check_top_level(config: DictConfig) -> None:
    """Types and ranges of all but the groups; imports nothing heavy."""
    ours = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    known = [each.name for each in fields(Train)]
    missing = OmegaConf.missing_keys(ours) | {name for name in known if name not in ours}
    if missing:
        raise ConfigError(min(missing), "has to be given")
    _validate(_top_level(), plain(ours), prefix="")
    for group in GROUPS:
        target = config[group].get("_target_")
        if not isinstance(target, str):
            raise ConfigError(f"{group}._target_", f"expected a dotted name, got {target}")
    _check_batches(config)
    folder_name = str(config.experiment)
    if not folder_name or "/" in folder_name or folder_name.startswith("."):
        raise ConfigError("experiment", f"expected a folder's name, got {folder_name!r}")
    if folder_name == "mlflow":
        raise ConfigError("experiment", "mlflow is the folder of MLflow's own files")
    _check_tracking(config.machine.tracking or "")


def _check_tracking(uri: str) -> None:
    try:
        password = urlsplit(uri).password
    except ValueError as error:
        raise ConfigError(
            "machine.tracking", f"{error}; expected as in http://HOST:5000"
        ) from error
    if password:
        raise ConfigError(
            "machine.tracking",
            "holds a password, which every record of the run would show; expected it in the "
            "environment, as MLFLOW_TRACKING_PASSWORD or in MLFLOW_TRACKING_URI",
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
    """Refuse what the targets' sources alone show to be wrong; imports none of them."""
    for group in GROUPS:
        target, values = _target_and_values(config, group)
        rules = _rules_in_source(group, target)
        if rules is not None:
            _validate(rules, values, prefix=f"{group}.")


def configured(config: DictConfig, group: str) -> "partial[Any]":
    """The group's choice as a callable, its hyper-parameters bound."""
    target, values = _target_and_values(config, group)
    try:
        function = get_method(target)
        hints = get_type_hints(function, include_extras=True)
        parameters = [
            each.replace(annotation=hints.get(each.name, Any))
            for each in signature(function).parameters.values()
        ]
    except Exception as error:  # whatever somebody's module raises when it is imported
        raise ConfigError(f"{group}._target_", f"cannot use {target}: {error}") from error
    rules = _rules(group, parameters)
    if rules is None:
        return partial(function, **values)
    return partial(function, **_validate(rules, values, prefix=f"{group}."))


def _target_and_values(config: DictConfig, group: str) -> tuple[str, dict[str, Any]]:
    values = chosen_values(config, group)
    return values.pop("_target_", None), values


@cache  # the runs of a sweep share most targets
def _rules_in_source(group: str, target: str) -> "Rules | None":
    try:
        parameters = read_parameters(target)
        return None if parameters is None else _rules(group, parameters)
    except Exception:  # what pydantic cannot use before the module's own names are there
        return None


def _rules(group: str, parameters: Sequence[Parameter]) -> "Rules | None":
    """Of the parameters that a user sets; None where any keyword will do."""
    from pydantic import TypeAdapter

    hyper = parameters[POSITIONAL[group] :]
    if any(each.kind is Parameter.VAR_KEYWORD for each in hyper):
        return None
    hyper = [each for each in hyper if each.kind is not Parameter.VAR_POSITIONAL]
    offered = OFFERED.get(group, set())
    named = {each.name: _field(each) for each in hyper if each.name not in offered}
    options = TypedDict(group, named)  # type: ignore[misc]  # made at run time
    strict = {"extra": "forbid", "allow_inf_nan": False, "arbitrary_types_allowed": True}
    setattr(options, "__pydantic_config__", strict)  # noqa: B010  a TypedDict has it nowhere else
    return TypeAdapter(options), list(named)


def _field(parameter: Parameter) -> Any:
    hint = parameter.annotation
    return Required[hint] if parameter.default is Parameter.empty else NotRequired[hint]


@cache  # for all runs of a sweep
def _top_level() -> "Rules":
    from pydantic import TypeAdapter

    return TypeAdapter(Train), [each.name for each in fields(Train)]


def _validate(rules: "Rules", values: Any, prefix: str) -> Any:
    from pydantic import ValidationError

    adapter, known = rules
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            complaint = f"no such key; {nearest(name, known, prefix)}"
        elif first["type"] == "missing":
            complaint = "has no default and was not given"
        else:
            expected = first["msg"].replace("Input should", "should")
            complaint = f"{expected}, got {first['input']!r}"
        raise ConfigError(prefix + name, complaint) from None
