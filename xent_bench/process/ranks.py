"""Processes that train one run together, a part of every batch each: begun, watched, ended as one.

Not by Lightning's own launcher, which types the command line again: here that may be a sweep.
"""

import math
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any

from lightning_fabric.plugins.environments.lightning import find_free_network_port

from xent_bench.failures import ProcessEnded, Unavailable
from xent_bench.process.signals import Notice, Preempted, end_with_parent

SIGNAL_SECONDS = 0.2  # seconds until a signal is passed on
ENDING_SECONDS = 20.0  # seconds for the others to end by themselves, once one has failed
PRELOADED = ["xent_bench.process.garbage_paused", "xent_bench.training.attempt"]


def run_in_ranks(
    function: Callable[..., None], *arguments: Any, ranks: int, notice: Notice
) -> None:
    """Call it in each process with the arguments and the process's own notice.

    When one ends with an error, or is killed, the others, who would wait for it, are ended too and
    the error is raised here.
    """
    notice.listen()  # it is theirs to end, and ours to tell them
    context = get_context("forkserver")  # imports once, and forks before a thread or a GPU is used
    context.set_forkserver_preload(PRELOADED)
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
    started: list[tuple[ForkServerProcess, Connection]] = []
    try:
        for rank in range(ranks):
            ours, theirs = context.Pipe(duplex=False)
            environment = meeting | {"LOCAL_RANK": str(rank)}
            process = context.Process(
                target=_run_rank, args=(function, arguments, environment, theirs)
            )
            process.start()
            theirs.close()
            started.append((process, ours))
        _watch(started, notice)
    finally:
        for process, _ in started:
            process.kill()
            process.join()


def _run_rank(
    function: Callable[..., None],
    arguments: tuple[Any, ...],
    environment: dict[str, str],
    outcome: Connection,
) -> None:
    os.environ |= environment
    try:
        with Notice() as notice:
            # the fork server of a sweep blocks them
            signal.pthread_sigmask(signal.SIG_UNBLOCK, notice.before)
            end_with_parent(grace=0)  # whose lock on the run's folder is gone with it
            function(*arguments, notice)
    except BaseException as error:
        _tell(outcome, error)
        os._exit(1)  # at once: a library would wait for the other processes
    outcome.send(None)


def _tell(outcome: Connection, error: BaseException) -> None:
    if not isinstance(error, Preempted | ValueError | OSError | Unavailable | ArithmeticError):
        traceback.print_exception(error)  # which does not cross
    try:
        content = ForkingPickler.dumps(error)
        ForkingPickler.loads(content)  # its class may want more than it keeps
    except Exception:  # somebody's own kind of error
        content = ForkingPickler.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    with suppress(BrokenPipeError):  # whoever began it was killed
        outcome.send_bytes(content)


def _watch(started: list[tuple[ForkServerProcess, Connection]], notice: Notice) -> None:
    """Until all have ended; after an error a while, for the first to say so in its records."""
    errors: list[BaseException] = []
    told, end = False, math.inf
    left = list(started)
    while left and time.monotonic() < end:
        if notice.signum is not None and not told:
            told = True
            for process, _ in left:
                os.kill(process.pid or 0, signal.SIGTERM)
        # its word too: one that is longer than the pipe keeps whoever sends it from ending
        signs = wait(
            [sign for rank, word in left for sign in (rank.sentinel, word)], SIGNAL_SECONDS
        )
        for process, word in [each for each in left if {each[0].sentinel, each[1]} & {*signs}]:
            left.remove((process, word))
            error = _error_of(process, word)
            if error is not None:
                errors.append(error)
                end = min(end, time.monotonic() + ENDING_SECONDS)
    if errors:
        notice.heed()  # by the signal that came first
        # of one that was killed, the others say only that they miss it
        raise next((each for each in errors if isinstance(each, Unavailable)), errors[0])


def _error_of(process: ForkServerProcess, outcome: Connection) -> BaseException | None:
    with suppress(EOFError, OSError):  # it was killed, or while it spoke
        said: BaseException | None = outcome.recv()
        process.join()
        return said
    process.join()
    code = process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return ProcessEnded(f"one of the processes that train the run was ended by {how}")
