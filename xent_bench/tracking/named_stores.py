"""The stores that the user has named when he trained, which the files of a run may name too.

A folder may come from somebody else. What its config names as its store is used only if it is the
user's own: nothing is sent to a host that a file alone names, and no login either.
"""

import os
from contextlib import suppress
from pathlib import Path

from xent_bench.addresses import holds_secret
from xent_bench.cache_folder import cache_folder

FILE = "stores.txt"  # an address on each line


def note_store(uri: str) -> None:
    """Remember a store that the user has named; where nothing can be written, it is not."""
    if holds_secret(uri) or "\n" in uri or is_named(uri):
        return
    with suppress(OSError, RuntimeError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        # one short write: processes that append at once do not mix their lines
        file = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(file, "w") as opened:
            opened.write(f"{_absolute(uri)}\n")


def is_named(uri: str) -> bool:
    """Whether the user has named the store when he trained."""
    try:
        return _absolute(uri) in (cache_folder() / FILE).read_text(errors="replace").splitlines()
    except (OSError, RuntimeError):
        return False


def _absolute(uri: str) -> str:
    """An SQLite file by its whole path: its address depends on where it was typed."""
    scheme, slashes, file = uri.partition(":///")
    return f"{scheme}:///{Path(file).absolute()}" if scheme == "sqlite" and slashes else uri
