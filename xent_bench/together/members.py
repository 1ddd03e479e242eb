"""The members of a group, and how they end."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from omegaconf import DictConfig


class Member(NamedTuple):
    """A run of a group: its config, and the command that a person types to train it."""

    config: DictConfig
    command: str


class NotTogether(Exception):
    """The refusal of a group whose members cannot or should not train as one; says why."""


# a function that is told the number of a member that has ended, and its error, if it has one
Ended: TypeAlias = Callable[[int, BaseException | None], None]
