"""A run as a SLURM job: its submission by submitit, its process, and the end of its log."""

import re
import shlex
import signal
import subprocess
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

MAX_ARRAY = 1000  # jobs of an array where the cluster does not say: SLURM's default limit
SCONTROL_SECONDS = 20.0  # that a call of scontrol may take
# sbatch's words where the user, group or cluster may not have so many jobs at a time
TOO_MANY = re.compile(r"Submit\w*Limit|job submit limit|MaxSubmitJobs|MaxJobCount|max job limit")
OF_A_SUBMISSION = ("*.pkl", ".submission_file_*.sh")  # in submitit's folder
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


class _TooMany(Unavailable):
    """The cluster takes no more jobs of the user's at a time."""


def submit(commands: Sequence[str], settings: Mapping[str, Any]) -> Iterator[str]:
    """Submit a job for each command and yield its id; `settings` are the launcher's.

    Fewer ids than commands where the cluster takes no more jobs of the user's at a time.
    Unavailable if sbatch refuses, or takes none at all.
    """
    largest, first = max_array(), 0
    while first < len(commands):
        jobs = _largest_array(commands[first : first + largest], settings, some=first > 0)
        if not jobs:
            return
        yield from jobs
        first += len(jobs)


def _largest_array(
    commands: Sequence[str], settings: Mapping[str, Any], *, some: bool
) -> list[str]:
    """Submit as many of the commands as are taken at a time, found by halving.

    Unavailable if none is taken and not `some` were before.
    """
    size = len(commands)
    while True:
        try:
            return _submit(commands[:size], settings)
        except _TooMany:
            if size == 1 and not some:
                raise
            size //= 2
            if not size:
                return []


def max_array() -> int:
    """The number of jobs that the cluster takes in an array; MAX_ARRAY at most."""
    try:
        done = subprocess.run(
            ["scontrol", "show", "config"],
            capture_output=True,
            text=True,
            check=False,
            timeout=SCONTROL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return MAX_ARRAY
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    # 0: no arrays at all, and submitit submits a single command as a plain job
    return max(1, min(MAX_ARRAY, int(match[1]))) if match else MAX_ARRAY


def _submit(commands: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    before = _submission_files(settings)
    try:
        with redirect_stderr(StringIO()):  # the error has sbatch's complaint too
            jobs = _executor(settings).submit_array([Job(command) for command in commands])
    except FailedJobError as error:
        for file in _submission_files(settings) - before:
            file.unlink(missing_ok=True)
        reason = " ".join(str(error).split()).replace("sbatch: error: ", "")
        kind = _TooMany if TOO_MANY.search(reason) else Unavailable
        raise kind(f"sbatch: {reason}") from error
    return [job.job_id for job in jobs]


def _submission_files(settings: Mapping[str, Any]) -> set[Path]:
    folder = Path(settings["submitit_folder"])
    return {file for pattern in OF_A_SUBMISSION for file in folder.glob(pattern)}


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
