"""The states of the user's SLURM jobs, by one call of squeue for all of them, now and then.

sacct needs accounting, which not every cluster keeps; squeue also says how a job ended, for the
minutes that SLURM remembers it (MinJobAge).
"""

import subprocess
import time
from collections.abc import Collection, Iterator
from typing import NamedTuple

from xent_bench.failures import Unavailable
from xent_bench.sweeps.lines import say

ENDED = {  # in any other state the job may still run, or run again
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "SPECIAL_EXIT", "TIMEOUT", "gone"),
}
FOR_GOOD = {"CANCELLED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"}
# A preempted job, or one whose node failed, is put back; and a shared disk shows late what a
# completed job has written.
REQUEUE_SECONDS = 60.0
SQUEUE_SECONDS = 60.0  # that a call of squeue may take
PASSING = {  # reasons to wait that pass by themselves
    *("None", "Priority", "Resources", "BeginTime", "Dependency", "Cleaning", "Prolog", "Licenses"),
    *("JobArrayTaskLimit", "ReqNodeNotAvail", "Reservation"),
}


class JobState(NamedTuple):
    """The state of a job: PENDING, RUNNING, FAILED, ..., or gone; its reason, and for how long."""

    name: str
    reason: str = "None"
    seconds: float = 0.0  # since it was first seen to have ended

    @property
    def has_ended(self) -> bool:
        """Whether the job has ended; SLURM may still put it back into its queue."""
        return self.name in ENDED

    @property
    def is_final(self) -> bool:
        """Whether it has ended for longer than SLURM needs to put it back."""
        return self.has_ended and self.seconds >= (
            3.0 if self.name in FOR_GOOD else REQUEUE_SECONDS
        )


def job_states() -> dict[str, JobState]:
    """The state of each of the user's jobs, by its id, such as 12_3.

    Unavailable where SLURM does not answer.
    """
    command = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%T|%r"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=SQUEUE_SECONDS
        )
    except OSError as error:
        raise Unavailable("no SLURM here: there is no squeue on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"SLURM: squeue gave no answer in {SQUEUE_SECONDS:.0f} s") from error
    if done.returncode:
        raise Unavailable(f"SLURM: {done.stderr.partition(chr(10))[0]}")
    rows = (line.strip().split("|", 2) for line in done.stdout.splitlines())
    return {job: JobState(name, reason) for job, name, reason in rows}


def polled_states(jobs: Collection[str]) -> Iterator[dict[str, JobState]]:
    """Yield the states of these jobs again and again: every second at first, every 15 s later."""
    start = time.monotonic()
    ended_at: dict[str, float] = {}
    silent = False
    while True:
        now = time.monotonic()
        try:
            states = job_states()
            yield {job: _aged(job, states, ended_at, now) for job in jobs}
            silent = False
        except Unavailable as error:  # it may answer again, and the jobs go on meanwhile
            if not silent:
                say(f"{error}; asking again until it answers. Ctrl-C ends only the watching.")
            silent = True
        time.sleep(min(15.0, max(1.0, (now - start) / 30)))


def _aged(
    job: str, states: dict[str, JobState], ended_at: dict[str, float], now: float
) -> JobState:
    """The state of a job with the seconds since it was first seen to have ended."""
    state = states.get(job, JobState("gone"))
    if not state.has_ended:
        ended_at.pop(job, None)
        return state
    return state._replace(seconds=now - ended_at.setdefault(job, now))
