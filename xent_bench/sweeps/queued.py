"""Runs in the queue of a sweep, alone or as a group, and how a group is tried again."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xent_bench.exit_codes import Exit
from xent_bench.sweeps.endings import Failure
from xent_bench.sweeps.groups import of_equal_steps, parts_of
from xent_bench.sweeps.plan import PlannedRun
from xent_bench.tables import n_runs

LOGS = ".together"  # a folder beside the runs, hidden from what lists them


@dataclass
class Queued:
    """Runs that one process is to train, or to train again: a single one, or a group."""

    runs: list[PlannedRun]
    tries: int = 0
    not_before: float = 0.0  # by time.monotonic()

    @property
    def is_group(self) -> bool:
        """Whether the runs are to train as one."""
        return len(self.runs) > 1

    @property
    def name(self) -> str:
        """The name to show, such as 'focal-s0' or '15 runs together'."""
        return f"{n_runs(len(self.runs))} together" if self.is_group else self.runs[0][0].name

    @property
    def retries(self) -> int:
        """How often the runs are tried again; a group's runs have one value of it."""
        retries: int = self.runs[0][1].machine.retries
        return retries

    @property
    def log(self) -> Path:
        """The file for what the process of a group prints; typed again, the group has the same."""
        folders = [run.folder for run, _ in self.runs]
        names = "\n".join(sorted(folder.name for folder in folders))
        digest = hashlib.sha256(names.encode()).hexdigest()[:10]
        return folders[0].parent / LOGS / f"{len(folders)}-runs-{digest}.txt"

    def delay(self) -> float:
        """Put off the next try, and return by how many seconds."""
        # longer each time: memory or room on a disk is free later, if at all. A group needs less of
        # them each time.
        pause = 1.0 if self.is_group else 8.0 ** max(0, self.tries - 1)
        self.not_before = time.monotonic() + pause
        return pause


class NextTries(NamedTuple):
    """The queue after a group's process has ended too soon, and the words that say it."""

    queue: list[Queued]
    words: str


def next_tries(group: Queued, left: Sequence[PlannedRun], failure: Failure) -> NextTries:
    """Queue the runs of a group that have not ended, `left`, after its process has failed.

    The first time they are queued as the same group. Then they are queued in halves, since one of
    them may take too much memory or kill the process, and in the end alone, where `machine.retries`
    begins to count anew. After an error that would come again they are queued alone at once: each
    then ends for a reason of its own. A group that was only told to end is tried again as it is,
    `machine.retries` times.
    """
    whole = 1 if failure.code != Exit.PREEMPTED else group.retries
    if len(left) == 1:
        parts, words = [list(left)], "tried again alone"
    elif not failure.again:
        parts, words = [[run] for run in left], "each tried again alone"
    elif group.tries <= min(whole, group.retries):
        parts, words = [list(left)], "tried again"
    else:
        parts, words = parts_of(left, 2), "tried again in halves"
    queue = [Queued(runs) for part in parts for runs in of_equal_steps(part)]
    for queued in queue:
        queued.tries = group.tries if queued.is_group else 0
    pauses = [queued.delay() for queued in queue]
    return NextTries(queue, f"{words} in {max(pauses):.0f} s")
