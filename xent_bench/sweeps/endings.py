"""How a run of a sweep ended, as the process that trained it tells its parent."""

import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, TypeAlias

from xent_bench.config.explain import USER_ERRORS, exit_code, explain
from xent_bench.exit_codes import Exit
from xent_bench.failures import worth_another_try
from xent_bench.process.signals import ENDING_SIGNALS, Preempted
from xent_bench.runs.refusal import is_refusal

MAX_REASON = 2000  # characters


class Failure(NamedTuple):
    """A run that ended without a result: the reason, the exit code, and whether to try again."""

    reason: str
    code: int
    again: bool = False
    refused: bool = False  # the command, or what it names, is at fault


class Ended(NamedTuple):
    """A message: the run of this number, counted from 0, has its result, its pause, or a failure.

    A message without a number is the last one; its failure is that of all runs that have not ended.
    """

    number: int | None
    failure: Failure | None


class Refusal(NamedTuple):
    """A message: the runs cannot, or should not, train as one; the process leaves."""

    reason: str


Message: TypeAlias = Ended | Refusal


def failure_of(error: BaseException, log: Path) -> Failure:
    """The failure of a run that an error ended; the traceback of a bug is added to the log."""
    if isinstance(error, KeyboardInterrupt):
        return Failure("interrupted", Exit.INTERRUPTED, again=True)
    if isinstance(error, Preempted):
        return Failure(str(error), Exit.PREEMPTED, again=True)
    if isinstance(error, SystemExit):
        return Failure(f"ended by sys.exit({error.code!r})", Exit.NOT_AS_EXPECTED)
    if isinstance(error, USER_ERRORS):
        reason = explain(error, sys.argv[1:])[:MAX_REASON]
        again = worth_another_try(error)
        return Failure(reason, exit_code(error), again, is_refusal(error))
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:MAX_REASON]
    with suppress(OSError), log.open("a", encoding="utf-8", errors="backslashreplace") as file:
        traceback.print_exception(error, file=file)
    return Failure(f"{reason}; see {log}", Exit.NOT_AS_EXPECTED)


def tell(parent: Connection, message: object) -> None:
    """Send a message; a signal that comes meanwhile is acted on when all of it is sent."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        with suppress(BrokenPipeError):  # the parent was killed
            parent.send(message)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
