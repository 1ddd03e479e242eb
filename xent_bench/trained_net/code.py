"""The code that a net's record names: its model, and the function that is its link.

A record may come from somebody else. So a name in it is looked up as a name in a config is, in what
the user has installed or written, and never in Python's own library; and a link is one of
xent_bench.links, or the one that the code of the loss declares.
"""

import json
import sys
from functools import partial
from inspect import isfunction
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from xent_bench import links
from xent_bench.config.configure import configured
from xent_bench.links import BoundLink, softmax
from xent_bench.trained_net.record import NetRecord


def build_model(record: NetRecord) -> Any:
    """Build the record's model as a config's is built. ConfigError where it cannot be used."""
    return _resolved("model", record.model)(record.shape, len(record.classes))


def build_link(record: NetRecord) -> BoundLink:
    """Find the record's link: one of xent_bench.links, or the one that the loss's code declares.

    So a record can choose among links and cannot name a function to call. ValueError otherwise.
    """
    name = record.link.function
    module, _, function_name = name.rpartition(".")
    if module == links.__name__:
        function = getattr(links, function_name, None)
    else:
        function = getattr(_resolved("loss", record.loss).func, "link", softmax)
    if not isfunction(function) or f"{function.__module__}.{function.__qualname__}" != name:
        raise ValueError(f"expected a link of ours or of the loss, got {name}")
    values = {
        key: np.array(value) if isinstance(value, list) else value
        for key, value in record.link.values.items()
    }
    link = partial(function, **values)
    try:
        link(np.zeros((1, len(record.classes))))
    except Exception as error:  # a user's link may raise anything
        raise ValueError(f"the link {name} cannot be used: {error}") from error
    return link


def _resolved(group: str, chosen: dict[str, Any]) -> "partial[Any]":
    if "${" in json.dumps(chosen):  # a config fills it in, from the environment too
        raise ValueError(f"{group}: expected plain values, got an interpolation")
    target = str(chosen.get("_target_"))
    if target.partition(".")[0] in sys.stdlib_module_names:
        raise ValueError(f"{group}._target_: expected a {group}, got {target} of Python's library")
    return configured(OmegaConf.create({group: chosen}), group)
