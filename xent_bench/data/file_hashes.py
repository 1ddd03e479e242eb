"""SHA-256 hashes of files, which are read once and then recognised by size and time of change.

The hashes below a root are remembered in a file of the user's cache folder, as arrays: name, size,
time of change (in ns), SHA-256 and look (a number that the caller gives the file). A file whose
size or time has changed is read again. If the memory is damaged or cannot be written, all files are
read again.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from filelock import FileLock
from jaxtyping import Int64, UInt8, UInt64

from xent_bench.cache_folder import cache_folder
from xent_bench.failures import DataError
from xent_bench.process.counted import Counted
from xent_bench.process.processors import processors
from xent_bench.runs.whole_files import write_whole

Hashes: TypeAlias = UInt8[np.ndarray, "n 32"]
Looks: TypeAlias = UInt64[np.ndarray, " n"]
Stamps: TypeAlias = Int64[np.ndarray, "n 2"]  # size in bytes; time of change in ns

# threads wait for the disk, hash and decode, none of which holds Python's lock
THREADS = max(8, processors())
CHUNK = 256  # files that a thread gets at a time
QUIET = 3.0  # seconds of reading after which a line says how far it is
# in ns: a file that changed less than this before it was read is not remembered. On a file system
# with a coarse clock a second change could leave it with the same time.
SETTLED = 2 * 10**9


class FileHashes(NamedTuple):
    """The hash of each file, and what was seen when its image was looked at."""

    hashes: Hashes
    looks: Looks  # UNSEEN where nobody has looked


class Memory(NamedTuple):
    """The remembered hashes of a root's files, sorted by name."""

    names: np.ndarray  # as bytes, relative to the root
    stamps: Stamps
    hashes: Hashes
    looks: Looks


UNSEEN = 0
NOTHING = Memory(
    np.array([], "S1"),
    np.empty((0, 2), np.int64),
    np.empty((0, 32), np.uint8),
    np.empty(0, np.uint64),
)


def file_hashes(
    root: Path, names: np.ndarray, look: Callable[[bytes], int] | None = None
) -> FileHashes:
    """The SHA-256 of each named file below the root. DataError names a file that cannot be read.

    `look` maps the path of a file to a number from 1 to 2^64 - 1, which is remembered too.
    """
    stamps = np.concatenate([NOTHING.stamps, *_in_threads(_stamps, root, names)])
    file = _memory_file(root)
    content, is_remembered = _recall(_load(file), names, stamps, look is not None)
    if is_remembered.all():
        return content
    with _held(file) as may_write:  # one of several processes reads, and the others wait for it
        content, is_remembered = _recall(_load(file), names, stamps, look is not None)
        unread = np.flatnonzero(~is_remembered)
        began = time.time_ns()
        try:
            start = 0
            read = partial(_read, look=look)
            for new in _in_threads(read, root, names[unread], report=True):
                places = unread[start : start + len(new.hashes)]
                content.hashes[places], content.looks[places] = new
                is_remembered[places] = True
                start += len(places)
        finally:  # an interrupted process saves what it has read so far
            if may_write:
                settled = is_remembered & (stamps[:, 1] < began - SETTLED)
                kept = Memory(names[settled], stamps[settled], *(part[settled] for part in content))
                with suppress(OSError):  # disk full: the files are read again the next time
                    _save(file, _merged(kept, _load(file)))
    return content


def content_hashes(contents: Iterable[bytes], look: Callable[[bytes], int]) -> FileHashes:
    """The SHA-256 of each content, and its look. Nothing is remembered."""
    with ThreadPoolExecutor(THREADS) as pool:
        digests: list[tuple[bytes, int]] = []
        contents = iter(contents)
        while chunk := list(islice(contents, CHUNK)):  # not all at once: together they are large
            digests += pool.map(lambda item: (hashlib.sha256(item).digest(), look(item)), chunk)
    hashes = np.frombuffer(b"".join(digest for digest, _ in digests), np.uint8)
    return FileHashes(hashes.reshape(-1, 32), np.array([look for _, look in digests], np.uint64))


def _in_threads(work: Any, root: Path, names: np.ndarray, *, report: bool = False) -> Iterator[Any]:
    """Do the work on chunks of names in threads; yield the results in the order of the names.

    With `report` lines on stderr say, after `QUIET` seconds, how many files have been read.
    """
    counted = Counted("reading images once, to hash and check them", len(names), quiet=QUIET)
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    pool = ThreadPoolExecutor(THREADS)
    try:
        for result in pool.map(lambda chunk: work(root, chunk.tolist()), chunks):
            if report:
                counted.count(len(result.hashes))
            yield result
    finally:  # after an error or a signal to end, chunks that have not begun are not read
        pool.shutdown(cancel_futures=True)


def _stamps(root: Path, names: list[bytes]) -> Stamps:
    stats = _each(os.stat, root, names)
    return np.array([(stat.st_size, stat.st_mtime_ns) for stat in stats], np.int64)


def _read(root: Path, names: list[bytes], look: Callable[[bytes], int] | None) -> FileHashes:
    digests = _each(lambda path: (_digest(path), look(path) if look else UNSEEN), root, names)
    hashes = np.frombuffer(b"".join(digest for digest, _ in digests), np.uint8)
    return FileHashes(hashes.reshape(-1, 32), np.array([look for _, look in digests], np.uint64))


def _digest(path: bytes) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").digest()


def _each(read: Any, root: Path, names: list[bytes]) -> list[Any]:
    """Call `read` with the path of each file, in bytes: making a Path would take longer."""
    start, path = os.fsencode(root), b""
    try:
        return [read(path := os.path.join(start, name)) for name in names]
    except OSError as error:
        raise DataError(f"cannot read {os.fsdecode(path)}: {error.strerror}") from error


def _memory_file(root: Path) -> Path | None:
    """The file that remembers the hashes of this root; None if the user has no home folder."""
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:32]
    try:
        return cache_folder() / f"files-{name}.npz"
    except RuntimeError:
        return None


def _recall(
    memory: Memory, names: np.ndarray, stamps: Stamps, looked_at: bool
) -> tuple[FileHashes, np.ndarray]:
    """The hash of each name, and whether it is remembered with the same size and time.

    With `looked_at` a file at which nobody has looked is not remembered.
    """
    hashes, is_remembered = np.zeros((len(names), 32), np.uint8), np.zeros(len(names), bool)
    looks = np.full(len(names), UNSEEN, np.uint64)
    if len(memory.names):
        place = np.searchsorted(memory.names, names).clip(max=len(memory.names) - 1)
        same_stamps = (memory.stamps[place] == stamps).all(axis=1)
        is_remembered = (memory.names[place] == names) & same_stamps
        if looked_at:
            is_remembered &= memory.looks[place] != UNSEEN
        place = place[is_remembered]
        hashes[is_remembered], looks[is_remembered] = memory.hashes[place], memory.looks[place]
    return FileHashes(hashes, looks), is_remembered


def _merged(new: Memory, old: Memory) -> Memory:
    """The names of both memories; the new one wins where a name is in both."""
    names, place = np.unique(np.concatenate((new.names, old.names)), return_index=True)
    others = (np.concatenate(pair)[place] for pair in zip(new[1:], old[1:], strict=True))
    return Memory(names, *others)


def _load(file: Path | None) -> Memory:
    """Load a memory; an empty one if the file is missing or damaged.

    NumPy's format has a CRC for each array, so damage is noticed.
    """
    if file is None:
        return NOTHING
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            memory = Memory(*(stored[name] for name in Memory._fields))
        n = len(memory.names)
        kinds = [array.dtype.kind for array in memory], [array.shape for array in memory]
        if kinds != (["S", "i", "u", "u"], [(n,), (n, 2), (n, 32), (n,)]):
            return NOTHING
        if memory.looks.dtype != np.uint64:  # of a version that did not look at sizes
            return NOTHING
    except Exception:  # NumPy and zipfile raise many kinds of error for a damaged file
        return NOTHING
    return memory


def _save(file: Path | None, memory: Memory) -> None:
    assert file is not None
    content = BytesIO()
    np.savez(content, **memory._asdict())
    write_whole(file, content.getbuffer())


@contextmanager
def _held(file: Path | None) -> Iterator[bool]:
    """Hold the lock beside that file; yield False if there is no home or no permission to write."""
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
