"""A run as a SLURM job: its submission by submitit, its process, and the end of its log."""

import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from importlib.metadata import entry_points
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import submitit
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from submitit.core.utils import DelayedSubmission, FailedJobError, JobPaths

from xent_bench.failures import Unavailable

MAX_ARRAY = 1000  # jobs of an array: SLURM's default limit
# lines of a job's log that say why it ended: our own, SLURM's, and its exit code
OUR_REASON = re.compile(r"^(?:xent-train: |.* FAILED: |(?=Preempted\.))(.+)$", re.MULTILINE)
SLURM_REASON = re.compile(r"^(?:srun|slurmstepd)\S*: error: (.+)$", re.MULTILINE)
EXIT = re.compile(r"Exited with exit code (\d+)$", re.MULTILINE)


class Job:
    """Runs the run's own command; put back into the queue it runs it again, and so goes on."""

    def __init__(self, command: str) -> None:
        """`command`: as it is typed in a shell."""
        self.command = command

    def __call__(self) -> None:
        """Run the command in the job's process, which leaves with the run's exit code."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit would ignore it
        print(self.command, flush=True)
        sys.argv = shlex.split(self.command)
        scripts = list(entry_points(group="console_scripts", name=sys.argv[0]))
        if not scripts:
            raise Unavailable(f"no command {sys.argv[0]} is installed in {sys.prefix}")
        try:
            scripts[0].load()()  # as a shell finds it
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends, and has saved

    def checkpoint(self) -> DelayedSubmission:
        """Tell submitit what to do when SLURM starts the job again: the same."""
        return DelayedSubmission(self)


def submit(commands: Sequence[str], settings: Mapping[str, Any]) -> Iterator[str]:
    """Submit a job for each command and yield its id; `settings` are the launcher's.

    Unavailable if sbatch refuses.
    """
    for first in range(0, len(commands), MAX_ARRAY):
        yield from _submit(commands[first : first + MAX_ARRAY], settings)


def _submit(commands: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    try:
        with redirect_stderr(StringIO()):  # the error has sbatch's complaint too
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
    executor.update_parameters(**_submitit_settings(settings))
    return executor


def _submitit_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    any_cluster = BaseQueueConf.__dataclass_fields__
    ours = {"submitit_folder", "max_num_timeout"}
    return {
        key if key in any_cluster else f"slurm_{key}": value
        for key, value in settings.items()
        if key not in ours
    }


class LastWords(NamedTuple):
    """The end of a failed job's log: its reason, "" if none is there, and its exit code."""

    reason: str
    code: int | None


def log_of(job: str, folder: Path) -> Path:
    """The file that the job prints to."""
    return Path(JobPaths(folder, job).stdout)


def last_words(log: Path) -> LastWords:
    """Read why a job ended from its log, which also holds what earlier starts of it printed."""
    try:
        text = log.read_text(errors="replace").rpartition("Starting with JobEnvironment")[2]
    except OSError:
        return LastWords("", None)
    patterns = (OUR_REASON, SLURM_REASON, EXIT)
    our_reasons, slurm_reasons, codes = (pattern.findall(text) for pattern in patterns)
    reason = (our_reasons[-1:] or slurm_reasons[:1] or [""])[0]
    return LastWords(reason, int(codes[-1]) if codes else None)
