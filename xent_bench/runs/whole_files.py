"""Files that appear whole or not at all, whenever the process or the machine stops."""

import os
from pathlib import Path
from typing import TypeAlias

NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
Content: TypeAlias = str | bytes | memoryview


def write_whole(path: Path, content: Content) -> None:
    """Write a file that appears whole even if the process is killed meanwhile.

    A power cut may leave it empty.
    """
    _write(path, content, flush=False)


def write_lasting(path: Path, content: Content) -> None:
    """Write a file that appears whole even after a power cut: it is on the disk before its name."""
    _write(path, content, flush=True)


def _write(path: Path, content: Content, *, flush: bool) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        # never through a link that lies there, which may lead to any other file of the user
        with open(os.open(part, NEW, 0o666), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            if flush:
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:  # no room: delete the part, which takes some
        part.unlink(missing_ok=True)
        raise OSError(
            error.errno, error.strerror, str(path)
        ) from error  # with the name of the file
