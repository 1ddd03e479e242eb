"""Output to a closed terminal or pipe, or to a full disk: it is dropped, and the run goes on."""

import sys
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any


class _Outlived(FileIO):
    """A file descriptor whose writes succeed even where nobody can receive them."""

    def write(self, data: Any) -> int:
        """Write, or drop the bytes: EPIPE of a pipe, EIO of a closed terminal, ENOSPC of a disk."""
        try:
            written = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written


def outlive_output() -> None:
    """Let prints to stdout and stderr never raise an OSError, which would cost a run its result.

    Streams that somebody has replaced, as pytest does, are left as they are.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):
            continue
        raw = _Outlived(stream.fileno(), "w", closefd=False)
        text = TextIOWrapper(
            BufferedWriter(raw),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
        )
        setattr(sys, name, text)
