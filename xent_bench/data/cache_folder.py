"""The user's cache folder: files that save time and that may be deleted at any moment."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """XENT_BENCH_CACHE if it is set, else `xent_bench` in the user's cache (XDG_CACHE_HOME).

    RuntimeError where the user has no home.
    """
    chosen = os.environ.get("XENT_BENCH_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xent_bench"
