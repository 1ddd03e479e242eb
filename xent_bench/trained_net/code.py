"""The code that a net's record names: its model, and the function that is its link.

A record may come from somebody else. So a name in it is looked up as a name in a config is, in what
the user has installed or written, and never in Python's own library; and a link is one of
xent_bench.links, or the one that the code of the loss declares.
"""

import json
import sys
from functools import partial
from importlib.util import find_spec
from inspect import isfunction
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from xent_bench import links
from xent_bench.config.configure import configured
from xent_bench.links import BoundLink, name_of, softmax
from xent_bench.trained_net.record import NetRecord


def build_model(record: NetRecord, folder: Path) -> Any:
    """Build the record's model as a config's is built. ConfigError where it cannot be used."""
    return resolved("model", record.model, folder)(record.shape, len(record.classes))


def build_link(record: NetRecord, folder: Path) -> BoundLink:
    """Find the record's link: one of xent_bench.links, or the one that the loss's code declares.

    So a record can choose among links and cannot name a function to call. ValueError otherwise.
    """
    name = record.link.function
    module, _, function_name = name.rpartition(".")
    if module == links.__name__:
        function = getattr(links, function_name, None)
    else:
        function = getattr(resolved("loss", record.loss, folder).func, "link", softmax)
    if not isfunction(function) or name_of(function) != name:
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


def resolved(group: str, chosen: dict[str, Any], folder: Path) -> "partial[Any]":
    """Find the callable that a run's file names for a group, with its values bound.

    ValueError for a name of Python's library, or of code in the run's folder.
    """
    if "${" in json.dumps(chosen):  # a config fills it in, from the environment too
        raise ValueError(f"{group}: expected plain values, got an interpolation")
    target = str(chosen.get("_target_"))
    if target.partition(".")[0] in sys.stdlib_module_names:
        raise ValueError(f"{group}._target_: expected a {group}, got {target} of Python's library")
    if _lies_in(target.partition(".")[0], folder):
        raise ValueError(
            f"{group}._target_: {target} lies in {folder}; code is not read from there"
        )
    return configured(OmegaConf.create({group: chosen}), group)


def _lies_in(module: str, folder: Path) -> bool:
    """Whether the module would be imported from the folder, as where a user types inside it."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return False
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    return any(Path(place).resolve().is_relative_to(folder.resolve()) for place in places if place)
