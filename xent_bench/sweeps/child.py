"""The functions that a sweep runs in forked processes: train a run, check runs, send to MLflow."""

import faulthandler
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from omegaconf import DictConfig

from xent_bench.config.explain import USER_ERRORS, exit_code, explain, run_at_fault
from xent_bench.config.schema import Accelerator, Precision
from xent_bench.exit_codes import Exit
from xent_bench.failures import Unavailable, Unreachable, worth_another_try
from xent_bench.process.signals import ENDING_SIGNALS, Preempted, end_with_parent, raise_on_signal
from xent_bench.process.streams import replace_what_cannot_be_shown
from xent_bench.runs.files import LOG
from xent_bench.runs.refusal import delete_alone, missing_folders
from xent_bench.sweeps.endings import Ended, Failure, failure_of
from xent_bench.tracking.send import send_if_pending
from xent_bench.training.run import run


def train_in_child(
    config: DictConfig, command: str, folder: Path, gpus: str | None, outcome: Connection
) -> None:
    """Train one run and send how it ended; what it prints goes to a file in its folder.

    `gpus`: CUDA_VISIBLE_DEVICES, or None to leave it as it is.
    """
    if gpus is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus
    failure: Failure | None = Failure("told to end", Exit.PREEMPTED, again=True)
    try:
        set_signals()
        new_folders = missing_folders(folder)
        folder.mkdir(parents=True, exist_ok=True)
        print_into(folder / LOG)
        failure = _outcome(config, command, folder)
        if failure is not None and failure.refused:
            delete_alone(folder, LOG, new_folders)
    except Preempted:  # before or after the training
        pass
    except OSError as error:  # its folder cannot be made or written
        failure = Failure(explain(error, sys.argv[1:]), exit_code(error), worth_another_try(error))
    ignore_signals()  # one that comes from now on must not cut the message short
    _send(outcome, Ended(0, failure))


def check_in_child(
    runs: list[tuple[list[str], DictConfig]], here: bool, answer: Connection
) -> None:
    """Check each run's parts and, if they train `here`, that their devices and images are there.

    `runs` are the overrides and the config of each.
    Sends the number of GPUs, or a refusal's line and exit code.
    """
    import torch  # the fork server has imported it

    from xent_bench.config.parts import resolve
    from xent_bench.sweeps.defined_scores import refuse_undefined
    from xent_bench.training.missing_images import refuse_missing_images

    try:
        set_signals()
        gpus = torch.cuda.device_count()
        for overrides, config in runs:
            with run_at_fault(overrides):
                refuse_undefined(config, resolve(config).loss)
            if here:
                _refuse_missing_devices(config, gpus)
                refuse_missing_images(config)
        reply: int | tuple[str, int] = gpus
    except USER_ERRORS as error:
        reply = explain(error, sys.argv[1:]), exit_code(error)
    except Preempted:
        reply = "told to end while it checked the runs", Exit.PREEMPTED
    _send(answer, reply)


def _refuse_missing_devices(config: DictConfig, gpus: int) -> None:
    """Raise Unavailable if a run asks for GPUs or arithmetic that this machine does not have."""
    import torch

    machine = config.machine
    if machine.accelerator is Accelerator.cpu or torch.backends.mps.is_available():
        return
    if machine.accelerator is Accelerator.gpu and not gpus:
        raise Unavailable(
            "machine.accelerator=gpu: PyTorch finds no GPU here; machine=cpu trains without one"
        )
    if gpus and machine.devices > gpus:
        raise Unavailable(
            f"machine.devices={machine.devices}: expected at most {gpus}, the GPUs here"
        )
    if gpus and config.precision is Precision.bf16 and not torch.cuda.is_bf16_supported():
        raise Unavailable("precision=bf16: the GPU here has no bfloat16; precision=fp32 needs none")


def _send(parent: Connection, message: object) -> None:
    with suppress(BrokenPipeError):  # the parent was killed
        parent.send(message)
    parent.close()


def _outcome(config: DictConfig, command: str, folder: Path) -> Failure | None:
    try:
        _run_even_offline(config, command)
    except BaseException as error:
        return failure_of(error, folder / LOG)
    return None


def _run_even_offline(config: DictConfig, command: str) -> None:
    """Train; if MLflow stopped answering after the parent asked it, log to the folder alone."""
    try:
        run(config, command)
    except Unreachable as error:
        print(f"{error}; the run goes on without", flush=True)
        config.machine.offline = True
        run(config, command)


def send_in_child(uri: str | None, folder: Path, answer: Connection) -> None:
    """Send to MLflow what a run whose process was killed has left in its folder."""
    send_if_pending(folder, uri)
    answer.close()


def set_signals() -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the parent; end when it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise_on_signal()
    end_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)


def ignore_signals() -> None:
    """Ignore every signal that ends a run."""
    for signum in ENDING_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def print_into(log: Path) -> None:
    """Send stdout, stderr and a crash's traceback to a log: the parent has the terminal."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())
    os.close(descriptor)
    replace_what_cannot_be_shown()
    faulthandler.enable()
