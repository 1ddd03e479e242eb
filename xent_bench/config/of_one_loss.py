"""Hyper-parameters of one loss in a sweep of several: loss.focal.gamma=1,2 beside loss=ce,focal.

The runs of focal have it as loss.gamma. Runs of other losses do not have it.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from xent_bench.config.choices import choices_of

THREE_PARTS = re.compile(r"(\+{0,2})loss\.([A-Za-z][\w-]*)\.([A-Za-z].*)", re.S)


class OfOneLoss(NamedTuple):
    """A key that one loss alone has: the loss, and the key as the runs of this loss have it."""

    loss: str  # which may be misspelt
    key: str  # loss.gamma, or +loss.gamma

    @property
    def name(self) -> str:
        """The hyper-parameter: gamma."""
        return self.key.partition(".")[2]


def of_one_loss(key: str, folders: Iterable[Path] = ()) -> OfOneLoss | None:
    """Read a key such as loss.focal.gamma; None for a key that all losses of a sweep have.

    A hyper-parameter may hold others, as in loss.options.eps: `options` is then no loss, but a key
    of a loss, or one that is added with a plus. `folders` have further losses.
    """
    match = THREE_PARTS.fullmatch(key)
    if match is None:
        return None
    plus, loss, name = match.groups()
    losses = choices_of("loss", folders)
    is_nested = plus or any(loss in keys for keys in losses.values())
    return None if loss not in losses and is_nested else OfOneLoss(loss, f"{plus}loss.{name}")


def is_one_value(word: str) -> bool:
    """Whether a key=value is no sweep; false also where Hydra cannot read it."""
    try:
        return not OverridesParser.create().parse_override(word).is_sweep_override()
    except HydraException:
        return False
