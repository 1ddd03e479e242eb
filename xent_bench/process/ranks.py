"""Processes that train one run together, each with a part of every batch.

They are started, watched and ended together. Lightning's own launcher runs the command line again
in every process, and that may be a sweep's here.
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

from xent_bench.failures import PeerLost, ProcessEnded, Unavailable, named
from xent_bench.process.lost_output import outlive_output
from xent_bench.process.signals import Notice, Preempted, end_with_parent

SIGNAL_SECONDS = 0.2  # seconds until a signal is passed on to them
ENDING_SECONDS = 20.0  # seconds for the others to end by themselves after one has failed


def run_in_ranks(
    function: Callable[..., None], *arguments: Any, ranks: int, notice: Notice
) -> None:
    """Call `function(*arguments, notice)` in `ranks` processes, each with a notice of its own.

    When one of them fails or is killed, the others, which would wait for it, are ended too, and
    its error is raised here.
    """
    notice.listen()  # the signal is passed on: they save before they end
    context = get_context(
        "forkserver"
    )  # one import for all, and no thread or GPU is in use when it forks
    context.set_forkserver_preload(preloaded(function))
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


def preloaded(function: Callable[..., None]) -> list[str]:
    """The modules that the ranks' fork server imports; the first pauses the garbage search."""
    return ["xent_bench.process.garbage_paused", function.__module__]


def _run_rank(
    function: Callable[..., None],
    arguments: tuple[Any, ...],
    environment: dict[str, str],
    outcome: Connection,
) -> None:
    os.environ |= environment
    outlive_output()
    try:
        with Notice() as notice:
            # the fork server of a sweep blocks them, and children inherit that
            signal.pthread_sigmask(signal.SIG_UNBLOCK, notice.before)
            end_with_parent(grace=0)  # the lock on the run's folder is lost with the parent
            function(*arguments, notice)
    except BaseException as error:
        _send_error(outcome, named(error))
        os._exit(1)  # at once: a library's cleanup would wait for the other processes
    outcome.send(None)


def _send_error(outcome: Connection, error: BaseException) -> None:
    if not isinstance(error, Preempted | ValueError | OSError | Unavailable | ArithmeticError):
        traceback.print_exception(error)  # a traceback cannot be sent
    try:
        content = ForkingPickler.dumps(error)
        ForkingPickler.loads(content)  # fails if its class needs arguments that it does not keep
    except Exception:  # an error class of the user's
        content = ForkingPickler.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
    with suppress(BrokenPipeError):  # the parent was killed
        outcome.send_bytes(content)


def _watch(started: list[tuple[ForkServerProcess, Connection]], notice: Notice) -> None:
    """Wait for all processes to end and raise the first error.

    After an error only ENDING_SECONDS, in which the first process writes the reason down.
    """
    errors: list[BaseException] = []
    passed_on, end = False, math.inf
    running = list(started)
    while running and time.monotonic() < end:
        if notice.signum is not None and not passed_on:
            passed_on = True
            for process, _ in running:
                os.kill(process.pid or 0, signal.SIGTERM)
        # the pipes too: a process that sends more than one holds cannot end before it is read
        waited_for = [item for process, pipe in running for item in (process.sentinel, pipe)]
        ready = {*wait(waited_for, SIGNAL_SECONDS)}
        ended = [pair for pair in running if {pair[0].sentinel, pair[1]} & ready]
        for process, pipe in ended:
            running.remove((process, pipe))
            error = _error_of(process, pipe)
            if error is not None:
                errors.append(error)
                end = min(end, time.monotonic() + ENDING_SECONDS)
                _wake([process for process, _ in running])
    if errors:
        notice.heed()  # a signal is the reason, not what it led to
        # where one failed or was killed, the errors of the others only say that they lost it
        raise next((error for error in errors if not isinstance(error, PeerLost)), errors[0])


def _wake(processes: list[ForkServerProcess]) -> None:
    """Send SIGCONT to processes that may be stopped: they then notice that a peer is lost."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid or 0, signal.SIGCONT)


def _error_of(process: ForkServerProcess, outcome: Connection) -> BaseException | None:
    with suppress(EOFError, OSError):  # it was killed, perhaps while it sent
        error: BaseException | None = outcome.recv()
        process.join()
        return error
    process.join()
    code = process.exitcode or 0
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    if how == "SIGABRT":
        how += " (so NCCL ends one whose exchange takes longer than machine.rank_timeout)"
    return ProcessEnded(f"one of the processes that train the run was ended by {how}")
