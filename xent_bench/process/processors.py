"""How many processors this process may use."""

import os


def processors(jobs: int = 1) -> int:
    """One job's share, where several run at a time; one at least.

    A cluster's scheduler, or `taskset`, may grant fewer than the machine has.
    """
    if hasattr(os, "sched_getaffinity"):  # on Linux
        granted = len(os.sched_getaffinity(0))
    else:
        granted = os.cpu_count() or 1
    return max(1, granted // jobs)
