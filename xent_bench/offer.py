"""Values that the harness has, for whatever asks for them by an argument's name."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

R = TypeVar("R")


def offer(function: Callable[..., R], **values: Any) -> "partial[R]":
    """The function, with those of the values that its signature names and has not yet."""
    free = inspect.signature(function).parameters
    bound = function.keywords if isinstance(function, partial) else {}
    return partial(function, **{k: v for k, v in values.items() if k in free and k not in bound})
