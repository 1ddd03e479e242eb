"""A run as a job of SLURM's: its submission by submitit, and what the job's process does."""

import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import submitit
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from submitit.core.utils import DelayedSubmission, FailedJobError, JobPaths

from xent_bench.failures import Unavailable

MAX_ARRAY = 1000  # jobs of an array: what SLURM allows unless told otherwise
OWN = re.compile(r"^(?:xent-train: |.* FAILED: |(?=Preempted\.))(.+)$", re.MULTILINE)
SLURMS = re.compile(r"^(?:srun|slurmstepd)\S*: error: (.+)$", re.MULTILINE)
LEFT = re.compile(r"Exited with exit code (\d+)$", re.MULTILINE)


class Job:
    """Types a run's own command. Put back into the queue it does the same, and so goes on."""

    def __init__(self, command: str) -> None:
        """The command as a shell reads it."""
        self.command = command

    def __call__(self) -> None:
        """In the job's process, which leaves with the run's exit code."""
        from xent_bench.commands.train import main

        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which submitit would let pass by
        print(self.command, flush=True)
        sys.argv = shlex.split(self.command)
        try:
            main()
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends, and has saved what there is

    def checkpoint(self) -> DelayedSubmission:
        """For submitit: what to do when SLURM starts the job again."""
        return DelayedSubmission(self)


def submit(commands: Sequence[str], settings: Mapping[str, Any]) -> Iterator[str]:
    """The jobs' ids, one for each command, as they are known; `settings` are the launcher's."""
    for first in range(0, len(commands), MAX_ARRAY):
        yield from _submit(commands[first : first + MAX_ARRAY], settings)


def _submit(commands: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    try:
        with redirect_stderr(StringIO()):  # sbatch's complaint is in the error too
            jobs = _executor(settings).submit_array([Job(command) for command in commands])
    except FailedJobError as error:
        reason = " ".join(str(error).split()).replace("sbatch: error: ", "")
        raise Unavailable(f"sbatch: {reason}") from error
    return [job.job_id for job in jobs]


def _executor(settings: Mapping[str, Any]) -> submitit.AutoExecutor:
    executor = submitit.AutoExecutor(
        settings["submitit_folder"],
        cluster="slurm",
        slurm_max_num_timeout=settings["max_num_timeout"],
    )
    executor.update_parameters(**_as_submitit_names_them(settings))
    return executor


def _as_submitit_names_them(settings: Mapping[str, Any]) -> dict[str, Any]:
    any_cluster = BaseQueueConf.__dataclass_fields__
    ours = {"submitit_folder", "max_num_timeout"}
    return {
        key if key in any_cluster else f"slurm_{key}": value
        for key, value in settings.items()
        if key not in ours
    }


class LastWords(NamedTuple):
    """Of a job that failed: what it said last, and its exit code, where it had them."""

    reason: str
    code: int | None


def log_of(job: str, folder: Path) -> Path:
    """What the job prints."""
    return Path(JobPaths(folder, job).stdout)


def last_words(log: Path) -> LastWords:
    """By the end of its log, which those of the times before are in too."""
    try:
        text = log.read_text(errors="replace").rpartition("Starting with JobEnvironment")[2]
    except OSError:
        return LastWords("", None)
    own, slurms, left = (each.findall(text) for each in (OWN, SLURMS, LEFT))
    return LastWords((own[-1:] or slurms[:1] or [""])[0], int(left[-1]) if left else None)
