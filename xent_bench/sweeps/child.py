"""What happens in the process of one run of a sweep."""

import faulthandler
import os
import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from xent_bench.config.configure import checked
from xent_bench.config.explain import CONFIG_ERRORS, USER_ERRORS, exit_code, explain
from xent_bench.failures import Unreachable, worth_another_try
from xent_bench.process.signals import EXIT_CODE, Preempted, end_with_parent, raise_when_told
from xent_bench.runs.files import LOG
from xent_bench.runs.refusal import delete_alone, is_refusal, missing_folders
from xent_bench.sweeps.fork_server import SIGNALS
from xent_bench.tracking.send import send_if_pending
from xent_bench.training.run import run

LONGEST = 2000  # characters of a reason


class Failure(NamedTuple):
    """Why a run has no result, its exit code, and whether it may have one another time."""

    reason: str
    code: int
    again: bool = False
    refused: bool = False  # for a mistake in the command, or in what it names


def train(
    config: DictConfig, command: str, folder: Path, gpus: str | None, outcome: Connection
) -> None:
    """One run; its outcome is None or a Failure, what it prints goes to a file of its folder."""
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    failure: Failure | None = Failure("told to end", EXIT_CODE, again=True)
    try:
        _listen()
        made = missing_folders(folder)
        _print_into(folder)
        failure = _outcome(config, command, folder)
        if failure is not None and failure.refused:
            delete_alone(folder, LOG, made)
    except Preempted:  # before or after its training
        pass
    except OSError as error:  # its folder
        failure = Failure(explain(error, sys.argv[1:]), exit_code(error), worth_another_try(error))
    for each in SIGNALS:  # it is over: what comes now must not tear the message
        signal.signal(each, signal.SIG_IGN)
    _tell(outcome, failure)


def check(configs: list[DictConfig], answer: Connection) -> None:
    """Answer with the number of GPUs, or with the line and the exit code of a refusal."""
    import torch  # the server has it

    from xent_bench.config.targets import checked_kind

    try:
        _listen()
        for config in configs:
            checked(config)
            checked_kind(config)
        found: int | tuple[str, int] = torch.cuda.device_count()
    except CONFIG_ERRORS as error:
        found = explain(error, sys.argv[1:]), exit_code(error)
    except Preempted:
        found = "told to end while it checked the runs", EXIT_CODE
    _tell(answer, found)


def _tell(parent: Connection, what: object) -> None:
    with suppress(BrokenPipeError):  # it was killed: nobody is there to be told
        parent.send(what)
    parent.close()


def _outcome(config: DictConfig, command: str, folder: Path) -> Failure | None:
    try:
        _run(config, command)
    except KeyboardInterrupt:
        return Failure("interrupted", 130, again=True)
    except Preempted as told:
        return Failure(str(told), EXIT_CODE, again=True)
    except SystemExit as end:
        return Failure(f"ended by sys.exit({end.code!r})", 1)
    except USER_ERRORS as error:
        reason = explain(error, sys.argv[1:])[:LONGEST]
        again = worth_another_try(error)
        return Failure(reason, exit_code(error), again, is_refusal(error))
    except BaseException as error:
        traceback.print_exc()
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST]
        return Failure(f"{reason}; see {folder / LOG}", 1)
    return None


def _run(config: DictConfig, command: str) -> None:
    """The parent has found that MLflow answers: where it has gone since, the folder must do."""
    try:
        run(config, command)
    except Unreachable as error:
        print(f"{error}; the run goes on without", flush=True)
        config.machine.offline = True
        run(config, command)


def send(uri: str | None, folder: Path, answer: Connection) -> None:
    """To MLflow, of a run whose process has ended without a word, what it left."""
    send_if_pending(folder, uri)
    answer.close()


def _listen() -> None:
    """To the parent: Ctrl-C on a terminal is told to all, and the parent tells us what is meant."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_when_told()
    end_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _print_into(folder: Path) -> None:
    """Also what a crash leaves: the bar and the lines of the sweep are the parent's."""
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())
    os.close(log)
    faulthandler.enable()
