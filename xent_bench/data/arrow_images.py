"""Encoded images in the rows of Arrow tables, which stay in their mapped files until one is read.

The hashes of the images are remembered in the user's cache folder for as long as the files in which
they lie keep their sizes and times of change.
"""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from xent_bench.cache_folder import cache_folder
from xent_bench.data.file_hashes import SETTLED, FileHashes, content_hashes
from xent_bench.failures import DataError
from xent_bench.runs.whole_files import write_whole


class ArrowImages:
    """The contents of images in columns of bytes, of paths, or of both in a struct.

    A row that holds a path and no bytes is read from its file; a relative path begins at `folder`.
    """

    def __init__(self, columns: Sequence[Any], files: Sequence[str], folder: Path) -> None:
        """Take the columns (chunked arrays) one after the other; they lie in these files."""
        self.chunks = [chunk for column in columns for chunk in column.chunks if len(chunk)]
        self.ends = np.cumsum([len(chunk) for chunk in self.chunks])
        self.files, self.folder = tuple(files), folder

    def __len__(self) -> int:
        """Number of images."""
        return int(self.ends[-1]) if len(self.ends) else 0

    def __getitem__(self, row: int) -> bytes:
        """The bytes of one image; empty ones where its row holds none. OSError without its file."""
        content, path = self._cell(row)
        if content is None and path:
            return self._place(path).read_bytes()
        return content or b""

    def looked_at(self, look: Callable[[bytes], int]) -> FileHashes:
        """The SHA-256 of each content and its look, from memory where no file has changed."""
        began = time.time_ns()
        stamps = self._stamps()
        memory, key = self._memory(), hashlib.sha256(repr(stamps).encode()).digest()
        if memory is not None and (remembered := _load(memory, key, len(self))) is not None:
            return remembered
        hashes = content_hashes((self._readable(row) for row in range(len(self))), look)
        if memory is not None and all(stamp[2] < began - SETTLED for stamp in stamps):
            content = BytesIO()
            np.savez(content, key=np.frombuffer(key, np.uint8), **hashes._asdict())
            with suppress(OSError):  # disk full: the images are read again the next time
                memory.parent.mkdir(parents=True, exist_ok=True)
                write_whole(memory, content.getbuffer())
        return hashes

    def _readable(self, row: int) -> bytes:
        try:
            return self[row]
        except OSError:  # is named as a bad image afterwards, with the others
            return b""

    def _cell(self, row: int) -> tuple[bytes | None, str | None]:
        if not 0 <= row < len(self):
            raise IndexError(row)
        place = int(np.searchsorted(self.ends, row, side="right"))
        chunk = self.chunks[place]
        value = chunk[row - int(self.ends[place]) + len(chunk)].as_py()
        if isinstance(value, dict):
            return value.get("bytes"), value.get("path")
        return (None, value) if isinstance(value, str) else (value, None)

    def _place(self, path: str) -> Path:
        return self.folder / path

    def _stamps(self) -> list[tuple[str, int, int]]:
        """Name, size and time of change of every file in which images lie."""
        cells = (self._cell(row) for row in range(len(self)) if self._has_paths)
        paths = [str(self._place(path)) for content, path in cells if content is None and path]
        stamps = []
        for path in (*self.files, *paths):
            with suppress(OSError):  # is named afterwards
                stat = os.stat(path)
                stamps.append((path, stat.st_size, stat.st_mtime_ns))
        return stamps

    @property
    def _has_paths(self) -> bool:
        """Whether any row may have to be read from a file of its own."""
        import pyarrow as pa

        for chunk in self.chunks:
            is_struct = pa.types.is_struct(chunk.type)
            if not is_struct and not pa.types.is_string(chunk.type):
                continue
            names = {chunk.type.field(i).name for i in range(chunk.type.num_fields)}
            if not is_struct or "bytes" not in names or chunk.field("bytes").null_count:
                return True
        return False

    def _memory(self) -> Path | None:
        """The file that remembers the hashes; None without files or a home folder."""
        name = hashlib.sha256("\n".join((str(self.folder), *self.files)).encode()).hexdigest()[:32]
        try:
            return cache_folder() / f"rows-{name}.npz" if self.files or self._has_paths else None
        except RuntimeError:
            return None


def _load(memory: Path, key: bytes, n: int) -> FileHashes | None:
    try:
        with memory.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            content = FileHashes(stored["hashes"], stored["looks"])
            is_same = stored["key"].tobytes() == key
    except Exception:  # NumPy and zipfile raise many kinds of error for a damaged file
        return None
    is_whole = content.hashes.shape == (n, 32) and content.looks.shape == (n,)
    return content if is_same and is_whole else None


def image_column(column: Any, name: str) -> Any:
    """The column, if it holds images: bytes, paths or both. DataError otherwise."""
    import pyarrow as pa

    kind = column.type
    kinds = pa.types
    if kinds.is_struct(kind):
        fields = {kind.field(i).name for i in range(kind.num_fields)}
        if fields & {"bytes", "path"}:
            return column
    elif kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_string(kind):
        return column
    raise DataError(f"expected encoded images or paths in column {name}, got {kind}")
