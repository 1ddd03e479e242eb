"""A process that has imported PyTorch, Lightning and MLflow, and forks one of ours for each run.

So a run costs a fork to start, not seconds of imports; it has a process of its own, which may be
killed or leave; and the parent, which trains nothing, imports nothing. Not by an executor: those of
concurrent.futures and joblib fail all that is to come when one process is killed; Pebble's (5.2)
goes on, but waits for ever for one that left with exit code 0, and kills what has not ended 3 s
after it was told to; submitit's local one starts a new interpreter a run, and all at once.
Processes are no daemons, since a run has children: workers that decode, ranks of one training.
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

CONTEXT = multiprocessing.get_context("forkserver")
# What a run imports, at once and when it comes to need it: MLflow's store takes 1.5 s of each.
PRELOADED = [
    "xent_bench.process.garbage_paused",
    *(
        "xent_bench.training.attempt",
        "xent_bench.evaluation.rescore",
        "xent_bench.config.targets",
        "xent_bench.sweeps.child",
    ),
    *("mlflow.store.tracking.sqlalchemy_store", "mlflow.utils.uv_utils"),
    *("sqlalchemy.dialects.sqlite", "torch.utils.flop_counter"),
    *("matplotlib.backends.backend_agg", "PIL.PngImagePlugin", "PIL.JpegImagePlugin"),
]


def start(config: DictConfig | None = None) -> None:
    """Let it import, in the background, also what a first run is made of; it ends with us."""
    targets = [config[group]["_target_"].rpartition(".")[0] for group in GROUPS] if config else []
    # not somebody else's modules, which may begin to do something
    CONTEXT.set_forkserver_preload(
        [*PRELOADED, *(each for each in targets if each.startswith("xent_bench."))]
    )
    resource_tracker.ensure_running()  # which would unblock the signals
    # It and its children are told by us alone: Ctrl-C reaches the whole process group, and would
    # interrupt an import with a page of its own.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    atexit.unregister(_end)
    atexit.register(_end)  # once


def fork(function: Callable[..., None], *arguments: Any) -> tuple[BaseProcess, Connection]:
    """A process that runs `function(*arguments, connection)`, and our end of its connection.

    Unavailable if the server is gone, which a system that is out of memory may kill, or if the
    system has no memory for more.
    """
    try:
        start()  # nothing if it runs
        ours, theirs = CONTEXT.Pipe(duplex=False)
        with theirs:
            process = CONTEXT.Process(target=function, args=(*arguments, theirs), daemon=False)
            process.start()
    except (EOFError, OSError) as error:
        raise Unavailable(f"cannot start a process: {error!r}") from error
    return process, ours


def _end() -> None:
    """Not after its imports, which a refusal has made useless."""
    pid = getattr(forkserver, "_forkserver")._forkserver_pid  # noqa: B009  not declared
    if pid is not None:
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # so that `time` knows what the runs have cost
