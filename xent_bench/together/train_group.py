"""The training of a group of runs in one process; each ends as its own run."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from omegaconf import DictConfig

from xent_bench.training.run import run


class Member(NamedTuple):
    """A run of a group: its config, and the command that a person types to train it."""

    config: DictConfig
    command: str


class NotTogether(Exception):
    """The refusal of a group whose members cannot or should not train as one; says why."""


def train_group(
    members: Sequence[Member], ended: Callable[[int, BaseException | None], None]
) -> None:
    """Train the members, and tell with its number how each ended: None, or its error.

    Raises NotTogether before anything is written where each should be trained alone, and
    KeyboardInterrupt or Preempted, once all are saved, where a signal says to end.
    """
    for number, member in enumerate(members):
        try:
            run(member.config, member.command)
        except Exception as error:
            ended(number, error)
        else:
            ended(number, None)
