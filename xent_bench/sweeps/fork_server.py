"""A server process that has imported PyTorch, Lightning and MLflow, and forks a process per run.

So a run starts with a fork instead of seconds of imports; it has a process of its own, which may be
killed or exit; and the parent, which trains nothing, imports nothing. No executor does this: those
of concurrent.futures and joblib fail all later tasks when one process is killed; Pebble's (5.2)
goes on, but waits for ever for a process that left with exit code 0, and kills one that has not
ended 3 s after it was told to; submitit's local one starts a new interpreter for each run, all at
once.
The processes are no daemons, since a run has children: workers that decode, ranks of one training.
"""

import atexit
import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from omegaconf import DictConfig

from xent_bench.config.schema import GROUPS
from xent_bench.failures import Unavailable
from xent_bench.process.signals import ENDING_SIGNALS
from xent_bench.process.sockets import give_sockets_room

CONTEXT = multiprocessing.get_context("forkserver")
# Also what a run imports only later: MLflow's store would take 1.5 s of each run.
PRELOADED = [
    "xent_bench.process.garbage_paused",
    *(
        "xent_bench.training.fit",
        "xent_bench.evaluation.rescore",
        "xent_bench.config.parts",
        "xent_bench.sweeps.child",
        "xent_bench.together.train_group",
    ),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.utils.uv_utils"),
    *("sqlalchemy.dialects.sqlite", "torch.utils.flop_counter"),
    *("matplotlib.backends.backend_agg", "PIL.PngImagePlugin", "PIL.JpegImagePlugin"),
]


def start(config: DictConfig | None = None) -> None:
    """Start the server if it does not run; it imports in the background and ends with its parent.

    With the config of a first run it also imports the modules of the run's parts.
    """
    targets = [config[group]["_target_"].rpartition(".")[0] for group in GROUPS] if config else []
    # not a user's modules, whose import may have effects
    ours = [module for module in targets if module.startswith("xent_bench.")]
    CONTEXT.set_forkserver_preload([*PRELOADED, *ours])
    give_sockets_room()
    resource_tracker.ensure_running()  # first: its start would unblock the signals
    # Blocked in the server, and so in its children: Ctrl-C reaches the whole process group, and
    # would interrupt an import with a long traceback.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    atexit.unregister(_end)  # registered once, however often it is started
    atexit.register(_end)


def fork(function: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """Fork a process that runs `function(*arguments, connection)`; returns it and our connection.

    Unavailable if the server is gone, which a system that is out of memory may kill, or if the
    system has no memory for another process.
    """
    try:
        start()
        ours, theirs = CONTEXT.Pipe(duplex=False)
        with theirs:
            process = CONTEXT.Process(target=function, args=(*arguments, theirs), daemon=False)
            process.start()
    except (EOFError, OSError) as error:
        raise Unavailable(f"cannot start a process: {error!r}") from error
    return process, ours


def _end() -> None:
    """Kill the server: after a refusal nobody waits for the end of its imports."""
    pid = getattr(forkserver, "_forkserver")._forkserver_pid  # noqa: B009  untyped
    if pid is not None:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # so that `time` counts the CPU time of the runs
