"""The user's cache folder: files that save time and that may be deleted at any moment."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """XENT_BENCH_CACHE if it is set, else XDG_CACHE_HOME/xent_bench, else ~/.cache/xent_bench.

    RuntimeError if the user has no home folder.
    """
    chosen = os.environ.get("XENT_BENCH_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xent_bench"
