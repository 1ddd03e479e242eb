"""A run, or a group, as a SLURM job: its submission by submitit, its process, its log's end."""

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
from typing import Any, NamedTuple, TypeAlias

import submitit
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from submitit.core.utils import DelayedSubmission, FailedJobError, JobPaths

from xent_bench.failures import Unavailable
from xent_bench.sweeps.slurm_group import failure_in, refusal_in, train_commands

MAX_ARRAY = 1000  # jobs of an array where the cluster does not say: SLURM's default limit
SCONTROL_SECONDS = 20.0  # that a call of scontrol may take
# sbatch's words where the user, group or cluster may not have so many jobs at a time
TOO_MANY = re.compile(r"Submit\w*Limit|job submit limit|MaxSubmitJobs|MaxJobCount|max job limit")
OF_A_SUBMISSION = ("*.pkl", ".submission_file_*.sh")  # in submitit's folder
# lines of a job's log that say why it ended: our own, SLURM's, and its exit code
OUR_REASON = re.compile(r"^((?:xent-train: |.* FAILED: |(?=Preempted\.)).+)$", re.MULTILINE)
SLURM_REASON = re.compile(r"^(?:srun|slurmstepd)\S*: error: (.+)$", re.MULTILINE)
COMMAND = re.compile(r"^xent-train .*$", re.MULTILINE)  # that a job prints before it runs it
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


class GroupJob:
    """Trains runs, one or a group, by their own commands; started again it goes on likewise."""

    def __init__(self, commands: Sequence[str], folder: Path) -> None:
        """`commands`: as they are typed in a shell; `folder`: that of the jobs' logs."""
        self.commands, self.folder = list(commands), folder

    def __call__(self) -> None:
        """Train the runs in the job's process, which leaves with the code of the first failure."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # submitit would ignore it
        print("\n".join(self.commands), flush=True)
        try:
            train_commands(self.commands, self.folder)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends, and has saved

    def checkpoint(self) -> DelayedSubmission:
        """Tell submitit what to do when SLURM starts the job again: the same."""
        return DelayedSubmission(self)


AnyJob: TypeAlias = Job | GroupJob


class _TooMany(Unavailable):
    """The cluster takes no more jobs of the user's at a time."""


def submit(jobs: Sequence[AnyJob], settings: Mapping[str, Any]) -> Iterator[str]:
    """Submit the jobs and yield their ids; `settings` are the launcher's.

    Fewer ids than jobs where the cluster takes no more jobs of the user's at a time. Unavailable if
    sbatch refuses, or takes none at all.
    """
    largest, first = max_array(), 0
    while first < len(jobs):
        ids = _largest_array(jobs[first : first + largest], settings, some=first > 0)
        if not ids:
            return
        yield from ids
        first += len(ids)


def _largest_array(jobs: Sequence[AnyJob], settings: Mapping[str, Any], *, some: bool) -> list[str]:
    """Submit as many of the jobs as are taken at a time, found by halving.

    Unavailable if none is taken and not `some` were before.
    """
    size = len(jobs)
    while True:
        try:
            return _submit(jobs[:size], settings)
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


def _submit(jobs: Sequence[AnyJob], settings: Mapping[str, Any]) -> list[str]:
    before = _submission_files(settings)
    try:
        with redirect_stderr(StringIO()):  # the error has sbatch's complaint too
            submitted = _executor(settings).submit_array(list(jobs))
    except FailedJobError as error:
        for file in _submission_files(settings) - before:
            file.unlink(missing_ok=True)
        reason = " ".join(str(error).split()).replace("sbatch: error: ", "")
        kind = _TooMany if TOO_MANY.search(reason) else Unavailable
        raise kind(f"sbatch: {reason}") from error
    return [job.job_id for job in submitted]


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


def last_words(log: Path, run_folder: Path) -> LastWords:
    """Read why a job has no result of a run from its log, which also holds earlier starts of it."""
    text = _last_start(log)
    if failure := failure_in(text, run_folder):  # of one of a group
        return LastWords(*failure)
    patterns = (OUR_REASON, SLURM_REASON, EXIT)
    our_reasons, slurm_reasons, codes = (pattern.findall(text) for pattern in patterns)
    if len(COMMAND.findall(text)) > 1:  # a run's failure is no reason for the others of its group
        our_reasons = [reason for reason in our_reasons if " FAILED: " not in reason]
    reason = (our_reasons[-1:] or slurm_reasons[:1] or [""])[0]
    return LastWords(_without_name(reason), int(codes[-1]) if codes else None)


def left_alone(log: Path, run_folder: Path) -> str:
    """The reason why a job has not trained a run as one with others; empty if it has tried to."""
    text = _last_start(log)
    return "" if failure_in(text, run_folder) else refusal_in(text)


def _without_name(reason: str) -> str:
    """The reason without the name of the command or of the run before it."""
    return reason.removeprefix("xent-train: ").rpartition(" FAILED: ")[2]


def _last_start(log: Path) -> str:
    """The text that the job has printed since its last start; empty where there is no log."""
    try:
        return log.read_text(errors="replace").rpartition("Starting with JobEnvironment")[2]
    except OSError:
        return ""
