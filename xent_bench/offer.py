"""Values that the harness gives to functions that have an argument of that name."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

R = TypeVar("R")


def offer(function: Callable[..., R], **values: Any) -> "partial[R]":
    """Bind to the function those values that its signature names and that are not bound yet."""
    free = inspect.signature(function).parameters
    bound = function.keywords if isinstance(function, partial) else {}
    return partial(function, **{k: v for k, v in values.items() if k in free and k not in bound})
