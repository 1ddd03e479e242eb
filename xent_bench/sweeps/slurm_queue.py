"""What SLURM says of one's jobs: one question to squeue for all of them, now and then.

Not to sacct, which needs accounting that not every cluster keeps: squeue tells how a job ended
too, for the minutes that SLURM remembers it (MinJobAge).
"""

import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from typing import NamedTuple

from xent_bench.failures import Unavailable

ENDED = {  # whatever else SLURM says, the job may run yet or run again
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "SPECIAL_EXIT", "TIMEOUT", "gone"),
}
FOR_GOOD = {"CANCELLED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT"}
# Seconds that an end has to last. A preempted job, or one whose node failed, comes back; and a
# shared disk shows a completed job's last file late.
LASTING, LASTING_FOR_GOOD = 60.0, 3.0
PASSING = {  # reasons to wait that go by themselves
    *("None", "Priority", "Resources", "BeginTime", "Dependency", "Cleaning", "Prolog", "Licenses"),
    *("JobArrayTaskLimit", "ReqNodeNotAvail", "Reservation"),
}


class State(NamedTuple):
    """Of a job: PENDING, RUNNING, FAILED, ..., or gone; and why it is so."""

    name: str
    reason: str = "None"

    @property
    def ended(self) -> bool:
        """Unless SLURM is about to put it back into its queue."""
        return self.name in ENDED


def queue() -> dict[str, State]:
    """Of each of my jobs, by its id, such as 12_3; Unavailable where SLURM does not answer."""
    command = ["squeue", "--me", "--array", "--noheader", "--states=all", "--format=%i|%T|%r"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Unavailable("no SLURM here: there is no squeue on the PATH") from error
    if asked.returncode:
        raise Unavailable(f"SLURM: {' '.join(asked.stderr.split())}")
    rows = (line.strip().split("|", 2) for line in asked.stdout.splitlines())
    return {job: State(name, reason) for job, name, reason in rows}


def states(jobs: Collection[str]) -> Iterator[dict[str, State]]:
    """Of these jobs, again and again: every second at first, every 15 seconds later."""
    start = time.monotonic()
    ended_at: dict[str, float] = {}
    while True:
        now = time.monotonic()
        with suppress(Unavailable):  # it will answer again; its jobs do not need it
            known = queue()
            yield {job: _settled(job, known, ended_at, now) for job in jobs}
        time.sleep(min(15.0, max(1.0, (now - start) / 30)))


def _settled(job: str, known: dict[str, State], ended_at: dict[str, float], now: float) -> State:
    """As it is known, except that an end is none before it has lasted."""
    state = known.get(job, State("gone"))
    if not state.ended:
        ended_at.pop(job, None)
        return state
    lasted = now - ended_at.setdefault(job, now)
    needed = LASTING_FOR_GOOD if state.name in FOR_GOOD else LASTING
    return state if lasted >= needed else State("COMPLETING")
