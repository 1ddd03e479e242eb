"""The content of files in a few bytes each: read once, then remembered by size and time.

What is remembered of a root lies in the user's cache folder, as arrays: the names, size and time of
change (in ns) that each file had, and the SHA-256 of what it held. A file that has another size or
another time is read again; so are all where that memory is damaged or cannot be written.
"""

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from filelock import FileLock
from jaxtyping import Int64, UInt8

from xent_bench.data.cache_folder import cache_folder
from xent_bench.failures import DataError
from xent_bench.runs.whole_files import write_whole

Hashes: TypeAlias = UInt8[np.ndarray, "n 32"]
Stamps: TypeAlias = Int64[np.ndarray, "n 2"]  # bytes; time of change in ns

THREADS = 8  # most of the time they wait for a disk, and hashing lets others work
CHUNK = 256  # files that a thread is given at a time
QUIET = 3.0  # seconds after which a reader is told what takes so long
# ns: a file changed less than this before it was read is not remembered, since a later change
# could leave it the same time where a file system's clock is coarse
SETTLED = 2 * 10**9


class Memory(NamedTuple):
    """The remembered hashes of a root's files, sorted by name."""

    names: np.ndarray  # of bytes
    stamps: Stamps
    hashes: Hashes


NOTHING = Memory(np.array([], "S1"), np.empty((0, 2), np.int64), np.empty((0, 32), np.uint8))


def file_hashes(root: Path, names: np.ndarray) -> Hashes:
    """The SHA-256 of each file below the root. DataError names a file that cannot be read."""
    stamps = np.concatenate([NOTHING.stamps, *_in_threads(_stamps, root, names)])
    file = _memory_file(root)
    hashes, known = _recall(_load(file), names, stamps)
    if known.all():
        return hashes
    with _held(file) as may_write:  # of several processes one reads, and the others wait for it
        hashes, known = _recall(_load(file), names, stamps)
        unknown = np.flatnonzero(~known)
        began = time.time_ns()
        try:
            start = 0
            for some in _in_threads(_hashes, root, names[unknown], say=True):
                places = unknown[start : start + len(some)]
                hashes[places], known[places] = some, True
                start += len(some)
        finally:  # also of what an interrupted process has read
            if may_write:
                settled = known & (stamps[:, 1] < began - SETTLED)
                new = Memory(names[settled], stamps[settled], hashes[settled])
                with suppress(OSError):  # no room: the files are read again the next time
                    _save(file, _merged(new, _load(file)))
    return hashes


def _in_threads(work: Any, root: Path, names: np.ndarray, *, say: bool = False) -> Iterator[Any]:
    """The work on a chunk of names after the other, in their order."""
    deadline = time.monotonic() + QUIET
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    pool = ThreadPoolExecutor(THREADS)
    try:
        for result in pool.map(lambda chunk: work(root, chunk.tolist()), chunks):
            if say and time.monotonic() > deadline:
                say = False
                line = f"reading {len(names):,} images once, to know their content"
                print(line, file=sys.stderr, flush=True)
            yield result
    finally:  # an error, or a signal to end: what is not begun is not read
        pool.shutdown(cancel_futures=True)


def _stamps(root: Path, names: list[bytes]) -> Stamps:
    stats = _each(os.stat, root, names)
    return np.array([(stat.st_size, stat.st_mtime_ns) for stat in stats], np.int64)


def _hashes(root: Path, names: list[bytes]) -> Hashes:
    digests = _each(_digest, root, names)
    return np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)


def _digest(path: bytes) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _each(read: Any, root: Path, names: list[bytes]) -> list[Any]:
    """Read each file, whose path is joined as bytes: a Path would take longer."""
    start, path = os.fsencode(root), b""
    try:
        return [read(path := os.path.join(start, name)) for name in names]
    except OSError as error:
        raise DataError(f"cannot read {os.fsdecode(path)}: {error.strerror}") from error


def _memory_file(root: Path) -> Path | None:
    """The file of this root; None where the user has no home to keep it in."""
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    try:
        return cache_folder() / f"files-{name}.npz"
    except RuntimeError:
        return None


def _recall(memory: Memory, names: np.ndarray, stamps: Stamps) -> tuple[Hashes, np.ndarray]:
    """Look up each name: its hash, and whether it is remembered with the same size and time."""
    hashes, known = np.zeros((len(names), 32), np.uint8), np.zeros(len(names), bool)
    if len(memory.names):
        place = np.searchsorted(memory.names, names).clip(max=len(memory.names) - 1)
        known = (memory.names[place] == names) & (memory.stamps[place] == stamps).all(axis=1)
        hashes[known] = memory.hashes[place[known]]
    return hashes, known


def _merged(new: Memory, old: Memory) -> Memory:
    """All names of both, each as the newer one has it."""
    names, place = np.unique(np.concatenate((new.names, old.names)), return_index=True)
    stamps, hashes = (np.concatenate(pair)[place] for pair in zip(new[1:], old[1:], strict=True))
    return Memory(names, stamps, hashes)


def _load(file: Path | None) -> Memory:
    """Nothing where there is no file or a damaged one: NumPy's format has a CRC of each array."""
    if file is None:
        return NOTHING
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            memory = Memory(*(stored[name] for name in Memory._fields))
        n = len(memory.names)
        kinds = [array.dtype.kind for array in memory], [array.shape for array in memory]
        if kinds != (["S", "i", "u"], [(n,), (n, 2), (n, 32)]):
            return NOTHING
    except Exception:  # whatever NumPy and zipfile raise at a damaged file
        return NOTHING
    return memory


def _save(file: Path | None, memory: Memory) -> None:
    assert file is not None
    content = BytesIO()
    np.savez(content, **memory._asdict())
    write_whole(file, content.getbuffer())


@contextmanager
def _held(file: Path | None) -> Iterator[bool]:
    """Hold the lock of that file; False where it cannot be had: no home, or not to be written."""
    lock = None
    if file is not None:
        with suppress(OSError, NotImplementedError):
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(file.with_suffix(".lock"))
            lock.acquire()
    try:
        yield lock is not None and lock.is_locked
    finally:
        if lock is not None:
            lock.release()
