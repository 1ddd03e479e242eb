"""Processes that train one run together, a part of every batch each: begun, watched, ended as one.

Not by Lightning's own launcher, which types the command line again: here that may be a sweep.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from lightning_fabric.plugins.environments.lightning import find_free_network_port

from xent_bench.failures import Unavailable
from xent_bench.preemption import Notice, Preempted, end_with_parent

PATIENCE = 0.2  # seconds until a signal is passed on
PRELOADED = ["xent_bench.fit"]


def run_in_ranks(
    function: Callable[..., None], *arguments: Any, ranks: int, notice: Notice
) -> None:
    """Call it in each process with the arguments and the process's own notice.

    When one ends with an error, or is killed, the others, who would wait for it, are ended too and
    the error is raised here.
    """
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
            end_with_parent()
            function(*arguments, notice)
    except BaseException as error:
        with suppress(BrokenPipeError):  # whoever began it was killed
            outcome.send(error)
        os._exit(1)  # at once: a library would wait for the other processes
    outcome.send(None)


def _watch(started: list[tuple[ForkServerProcess, Connection]], notice: Notice) -> None:
    told = False
    left = {process.sentinel: (process, outcome) for process, outcome in started}
    while left:
        if notice.signum is not None and not told:
            told = True
            for process, _ in left.values():
                os.kill(process.pid or 0, signal.SIGTERM)
        ended = wait(list(left), timeout=PATIENCE)
        for sentinel in [each for each in left if each in ended]:
            process, outcome = left.pop(sentinel)
            _raise_error(process, outcome, notice)


def _raise_error(process: ForkServerProcess, outcome: Connection, notice: Notice) -> None:
    process.join()
    error: BaseException | None
    try:
        error = outcome.recv()
    except EOFError:
        code = process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        error = Unavailable(f"one of the processes that train the run was ended by {how}")
    if isinstance(error, Preempted):
        notice.heed()  # by the signal that came first
    if error is not None:
        raise error
