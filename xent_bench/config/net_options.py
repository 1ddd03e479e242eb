"""Keys that every net has: the harness acts on them, and the net's function does not see them.

A function that has a parameter of such a name gets it, as any other hyper-parameter: the harness
then keeps the default for itself.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

from xent_bench.config.schema import STRICT
from xent_bench.ranges import NonEmpty


@dataclass(frozen=True)
class NetOptions:
    """How a net begins. A default is neutral: it changes nothing and is not part of a run's key."""

    __pydantic_config__ = STRICT

    weights: NonEmpty | None = None  # a file, or a name of the library's own; null: drawn at random
    download: bool = False  # weights that the library offers and this machine lacks
    strict: bool = True  # refuse weights that lack a tensor of the net, or have one more
    entry: NonEmpty | None = None  # of a file with several sets of weights; null: the averaged ones
    trainable: NonEmpty = "all"  # what is trained: all, head, norm or last:N


NAMES = tuple(field.name for field in fields(NetOptions))
LAST = re.compile(r"last:[1-9][0-9]{0,5}")
OF_FILE = ("strict", "entry")  # without a file of weights they say nothing
UNHASHED = ("download",)  # cannot change a number


def complaint_of_trainable(text: str) -> str | None:
    """The reason why this does not say which layers of a net are trained, or None."""
    if text in ("all", "head", "norm") or LAST.fullmatch(text):
        return None
    return f"expected all, head, norm or last:N, such as last:2, got {text!r}"


def taken_out(
    values: Mapping[str, Any], parameters: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide a model's values: those of its function, which has `parameters`, and the options."""
    names = [name for name in NAMES if name not in parameters]
    options = {name: value for name, value in values.items() if name in names}
    return {name: value for name, value in values.items() if name not in names}, options
