"""The function that a sweep runs in a forked process to train a group of runs as one."""

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from xent_bench.config.explain import exit_code, explain
from xent_bench.exit_codes import Exit
from xent_bench.failures import worth_another_try
from xent_bench.process.signals import Preempted
from xent_bench.runs.files import LOG
from xent_bench.sweeps.child import ignore_signals, print_into, set_signals
from xent_bench.sweeps.endings import Ended, Failure, Message, Refusal, failure_of, tell
from xent_bench.sweeps.even_offline import train_even_offline
from xent_bench.training.run import run


class Task(NamedTuple):
    """A run of a group, for its process: its config, the command to show, and its folder."""

    config: DictConfig
    command: str
    folder: Path


def train_group_in_child(
    tasks: Sequence[Task], log: Path, gpus: str | None, parent: Connection
) -> None:
    """Train the runs as one, and send how each ended as soon as it has.

    What the process prints goes to `log`. `gpus`: CUDA_VISIBLE_DEVICES, or None to leave it as it
    is.
    """
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    last: Message = Ended(None, Failure("told to end", Exit.PREEMPTED, again=True))
    try:
        set_signals()
        log.parent.mkdir(parents=True, exist_ok=True)
        print_into(log)
        last = _train(tasks, log, parent)
    except Preempted:  # before or after the training
        pass
    except OSError as error:  # the log cannot be written
        reason, again = explain(error, sys.argv[1:]), worth_another_try(error)
        last = Ended(None, Failure(reason, exit_code(error), again))
    ignore_signals()  # one that comes from now on must not cut the message short
    tell(parent, last)
    parent.close()


def _train(tasks: Sequence[Task], log: Path, parent: Connection) -> Message:
    """Train the runs; those that could not reach MLflow at their start go on without it."""
    from xent_bench.together.train_group import NotTogether  # slow imports

    def ended(number: int, error: BaseException | None) -> None:
        failure = None if error is None else failure_of(error, tasks[number].folder / LOG)
        tell(parent, Ended(number, failure))

    try:
        train_even_offline([task.config for task in tasks], partial(_train_as_one, tasks), ended)
    except NotTogether as refusal:
        return Refusal(str(refusal))
    except BaseException as error:
        return Ended(None, failure_of(error, log))
    return Ended(None, None)


def _train_as_one(
    tasks: Sequence[Task],
    numbers: Sequence[int],
    ended: Callable[[int, BaseException | None], None],
) -> None:
    """Train the tasks of these numbers; a single one as it is trained alone."""
    from xent_bench.together.train_group import Member, train_group  # slow imports

    if len(numbers) > 1:
        members = [Member(tasks[number].config, tasks[number].command) for number in numbers]
        train_group(members, lambda member, error: ended(numbers[member], error))
        return
    for number in numbers:
        try:
            run(tasks[number].config, tasks[number].command)
        except Exception as error:
            ended(number, error)
        else:
            ended(number, None)
