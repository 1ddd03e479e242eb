"""Rules for the hyper-parameters of a target: the keys that exist, with types and ranges."""

from collections.abc import Collection, Sequence
from inspect import Parameter
from typing import TYPE_CHECKING, Any, NotRequired, Required, TypeAlias

from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from xent_bench.config.net_arguments import passed_by_name

if TYPE_CHECKING:
    from pydantic import (
        TypeAdapter,
    )  # imported where it is used, since it takes a sixth of the time of --help

# a checker of values, and the keys that exist
Rules: TypeAlias = "tuple[TypeAdapter[Any], list[str]]"

# How many arguments the harness passes by position: (logits, target), (), (shape, classes), (net),
# (step, steps).
POSITIONAL = {"loss": 2, "data": 0, "model": 2, "optimizer": 1, "schedule": 2}
# Arguments that the harness passes by name to a target that has them; nobody sets them.
OFFERED = {"loss": {"class_counts"}, "optimizer": {"net_parts"}}


def rules_for(
    group: str, parameters: Sequence[Parameter], given: Collection[str]
) -> "Rules | None":
    """Rules for the parameters that a user sets; None if the function takes any keyword."""
    from pydantic import TypeAdapter

    if any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters):
        return None
    free = hyper_parameters(group, parameters, given)
    keys = {parameter.name: _field(parameter) for parameter in free}
    options = TypedDict(group, keys)  # type: ignore[misc]  # made at run time
    strict = {"extra": "forbid", "allow_inf_nan": False, "arbitrary_types_allowed": True}
    setattr(options, "__pydantic_config__", strict)  # noqa: B010  a TypedDict has it nowhere else
    return TypeAdapter(options), list(keys)


def hyper_parameters(
    group: str, parameters: Sequence[Parameter], given: Collection[str]
) -> list[Parameter]:
    """The parameters that a user sets: no starred ones, and none that the harness passes.

    `given` are the names that the user gives.
    """
    starred = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    by_name = passed_by_name(parameters, given) if group == "model" else ()
    passed = {*by_name, *OFFERED.get(group, ())}
    return [
        parameter
        for parameter in parameters[0 if by_name else POSITIONAL[group] :]
        if parameter.kind not in starred and parameter.name not in passed
    ]


def _field(parameter: Parameter) -> Any:
    hint = parameter.annotation
    return Required[hint] if parameter.default is Parameter.empty else NotRequired[hint]
