"""How many processors this process may use."""

import os


def processors() -> int:
    """A cluster's scheduler, or `taskset`, may grant fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # on Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
