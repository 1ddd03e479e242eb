"""What SLURM says of one's jobs: one question to squeue for all of them, now and then.

Not to sacct, which needs accounting that not every cluster keeps: squeue tells how a job ended
too, for the minutes that SLURM remembers it (MinJobAge).
"""

import subprocess
import time
from collections.abc import Collection, Iterator
from typing import NamedTuple

from xent_bench.failures import Unavailable
from xent_bench.sweeps.lines import say

ENDED = {  # whatever else SLURM says, the job may run yet or run again
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "SPECIAL_EXIT", "TIMEOUT", "gone"),
}
FOR_GOOD = {"CANCELLED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"}
# Seconds: a preempted job, or one whose node failed, comes back; and a shared disk shows late what
# a completed job has written.
REQUEUE_SECONDS = 60.0
PASSING = {  # reasons to wait that go by themselves
    *("None", "Priority", "Resources", "BeginTime", "Dependency", "Cleaning", "Prolog", "Licenses"),
    *("JobArrayTaskLimit", "ReqNodeNotAvail", "Reservation"),
}


class JobState(NamedTuple):
    """Of a job: PENDING, RUNNING, FAILED, ..., or gone; why it is so, and for how long."""

    name: str
    reason: str = "None"
    seconds: float = 0.0  # since it was first seen to have ended

    @property
    def has_ended(self) -> bool:
        """Unless SLURM is about to put it back into its queue."""
        return self.name in ENDED

    @property
    def is_final(self) -> bool:
        """It has ended, for longer than SLURM needs to put it back."""
        return self.has_ended and self.seconds >= (
            3.0 if self.name in FOR_GOOD else REQUEUE_SECONDS
        )


def job_states() -> dict[str, JobState]:
    """Of each of my jobs, by its id, such as 12_3; Unavailable where SLURM does not answer."""
    command = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%T|%r"]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=REQUEUE_SECONDS
        )
    except OSError as error:
        raise Unavailable("no SLURM here: there is no squeue on the PATH") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"SLURM: squeue gave no answer in {REQUEUE_SECONDS:.0f} s") from error
    if asked.returncode:
        raise Unavailable(f"SLURM: {asked.stderr.partition(chr(10))[0]}")
    rows = (line.strip().split("|", 2) for line in asked.stdout.splitlines())
    return {job: JobState(name, reason) for job, name, reason in rows}


def polled_states(jobs: Collection[str]) -> Iterator[dict[str, JobState]]:
    """Of these jobs, again and again: every second at first, every 15 seconds later."""
    start = time.monotonic()
    ended_at: dict[str, float] = {}
    silent = False
    while True:
        now = time.monotonic()
        try:
            known = job_states()
            yield {job: _aged(job, known, ended_at, now) for job in jobs}
            silent = False
        except Unavailable as error:  # it may answer again; its jobs do not need it
            if not silent:
                say(f"{error}; asked again until it answers. Ctrl-C ends the watching alone.")
            silent = True
        time.sleep(min(15.0, max(1.0, (now - start) / 30)))


def _aged(job: str, known: dict[str, JobState], ended_at: dict[str, float], now: float) -> JobState:
    state = known.get(job, JobState("gone"))
    if not state.has_ended:
        ended_at.pop(job, None)
        return state
    return state._replace(seconds=now - ended_at.setdefault(job, now))
