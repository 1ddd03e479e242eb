"""The number of processors that this process may use."""

import os


def processors(jobs: int = 1) -> int:
    """The number of processors for each of `jobs` runs at a time, one at least.

    A cluster's scheduler, or `taskset`, may grant fewer than the machine has.
    """
    if hasattr(os, "sched_getaffinity"):  # on Linux
        granted = len(os.sched_getaffinity(0))
    else:
        granted = os.cpu_count() or 1
    return max(1, granted // jobs)
