"""Worker processes that decode images, and a watch over them: one may be killed, stopped or stuck.

Each worker has a pipe of its own and writes pixels to memory that it shares with this process. So
there is no lock that a dead worker could hold, no file in /dev/shm that could find it full, and no
socket in TMPDIR whose path could be too long. PyTorch's DataLoader has all three: it waits for ever
where a worker dies with the lock of its queue.
"""

import mmap
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import NamedTuple

import numpy as np
import torch

from xent_bench.data.cropping import Draw
from xent_bench.data.decoding import silence_pillow
from xent_bench.data.image_files import Decoded, ImageFiles
from xent_bench.failures import DataError, OutOfMemory, Unavailable
from xent_bench.process.signals import ENDING_SIGNALS, end_with_parent

AHEAD = 4  # chunks that each worker decodes ahead
POLL = 1.0  # seconds between two looks at a worker that has sent nothing
MOST_TEXT = 4000  # bytes of an error: so much goes through a pipe at once
FORK = get_context("fork")  # fast, and safe here: a worker uses neither the GPU nor a lock
WAY_OUT = "machine.workers=0 decodes without such processes"


class Wanted(NamedTuple):
    """The images to decode: in which files, which of them, and how each is cropped."""

    files: ImageFiles
    numbers: np.ndarray  # (n,)
    draws: np.ndarray | None  # (n, 5); None: each is cropped centrally

    def at(self, place: int) -> tuple[int, Draw | None]:
        """The number and the draw of an image by its place in the order."""
        draw = None if self.draws is None else self.draws[place].tolist()
        return int(self.numbers[place]), draw


class Worker(NamedTuple):
    """A worker process, this process's end of its pipe, and the memory that both share."""

    process: BaseProcess
    pipe: Connection
    slots: np.ndarray  # (AHEAD, images, size, size, channels)
    done: np.ndarray  # the number of images decoded so far, in an array of one


def decode_in_workers(
    wanted: Wanted, chunks: list[range], workers: int, timeout: float | None
) -> Iterator[Decoded]:
    """Decode the images at these places, chunk by chunk; a chunk is valid until the next is asked.

    OutOfMemory if a worker was killed; TimeoutError if one has decoded nothing for `timeout`
    seconds while it was waited for (None or 0: no limit).
    """
    pool: list[Worker] = []
    ending = Finalize(None, _end, (pool,), exitpriority=100)  # also where nobody closes this
    try:
        count = min(workers, len(chunks))
        memory = _shared(wanted, chunks, count)
        for number in range(count):
            pool.append(_started(wanted, chunks[number::count], *memory[number], pool))
        for turn, chunk in enumerate(chunks):
            worker, place = pool[turn % count], turn // count
            _receive(worker, wanted, chunks[turn % count :: count], timeout)
            yield worker.slots[place % AHEAD, : len(chunk)]
            with suppress(OSError):  # it needs no more room, or is dead, which is noticed next
                worker.pipe.send_bytes(b"free")
    finally:
        ending()


def _shared(wanted: Wanted, chunks: list[range], count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Memory for each worker: its slots, and its count of decoded images."""
    _, channels, h, w = wanted.files.shape
    shape = count, AHEAD, max(map(len, chunks)), h, w, channels
    try:
        slots = np.frombuffer(mmap.mmap(-1, int(np.prod(shape))), np.uint8).reshape(shape)
        done = np.frombuffer(mmap.mmap(-1, 8 * count), np.int64).reshape(count, 1)
    except (OSError, ValueError, OverflowError) as error:
        size_text = f"{np.prod(shape, dtype=float) / 2**30:.1f} GiB"
        raise OutOfMemory(
            f"not enough memory: {size_text} for decoded images ({error}); fewer machine.workers "
            f"or a smaller data.size need less; {WAY_OUT}"
        ) from error
    return list(zip(slots, done, strict=True))


def _started(
    wanted: Wanted, chunks: list[range], slots: np.ndarray, done: np.ndarray, pool: list[Worker]
) -> Worker:
    others = [worker.pipe for worker in pool]
    try:
        ours, theirs = FORK.Pipe()
        process = FORK.Process(
            target=_work, args=(wanted, chunks, slots, done, theirs, [*others, ours]), daemon=True
        )
        with _signals_held():
            process.start()
    except OSError as error:
        raise Unavailable(
            f"cannot start a process that decodes images: {error.strerror}; fewer machine.workers "
            f"may help; {WAY_OUT}"
        ) from error
    theirs.close()
    return Worker(process, ours, slots, done)


@contextmanager
def _signals_held() -> Iterator[None]:
    """Hold back the signals to end: a new worker must not get one before it ignores them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    wanted: Wanted,
    chunks: list[range],
    slots: np.ndarray,
    done: np.ndarray,
    pipe: Connection,
    others: list[Connection],
) -> None:
    """Be a worker: decode every chunk, or end in silence where nobody reads it any more.

    The whole process group receives the signals to end. The run decides when to stop, and needs
    images until then.
    """
    for signum in ENDING_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING_SIGNALS)
    end_with_parent(0)
    silence_pillow()
    torch.set_num_threads(1)  # threads of this process's parent do not exist here
    for other in others:
        other.close()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        _decode_all(wanted, chunks, slots, done, pipe)


def _decode_all(
    wanted: Wanted, chunks: list[range], slots: np.ndarray, done: np.ndarray, pipe: Connection
) -> None:
    """Decode every chunk to the next free slot; send an empty message, or why it failed."""
    for number, chunk in enumerate(chunks):
        if number >= AHEAD:
            pipe.recv_bytes()  # the oldest slot is free
        try:
            for row, place in enumerate(chunk):
                slots[number % AHEAD, row] = wanted.files.decode_one(*wanted.at(place))
                done += 1
        except DataError as error:
            pipe.send_bytes(b"D" + _text(error))
            return
        except MemoryError as error:
            pipe.send_bytes(b"M" + _text(error))
            return
        pipe.send_bytes(b"")


def _text(error: Exception) -> bytes:
    return str(error).encode(errors="backslashreplace")[:MOST_TEXT]


def _receive(worker: Worker, wanted: Wanted, chunks: list[range], timeout: float | None) -> None:
    """Wait for the worker's next chunk; raise its error, or an error that says it is lost."""
    silent, before = 0.0, int(worker.done[0])
    poll = min(POLL, timeout / 4) if timeout else POLL
    while True:
        ready = wait([worker.pipe, worker.process.sentinel], poll)
        if ready and not worker.pipe.poll():
            raise _lost(worker, wanted, chunks)
        if ready:
            break
        # counted in looks and not by a clock: after Ctrl-Z and fg all processes have been silent
        now = int(worker.done[0])
        silent, before = (silent + poll if now == before else 0.0), now
        if timeout and silent >= timeout:
            raise TimeoutError(
                f"a process that decodes images (pid {worker.process.pid}) has been silent for "
                f"{timeout:g} seconds{_place(worker, wanted, chunks)}; a larger "
                f"machine.worker_timeout waits longer; {WAY_OUT}"
            )
    try:
        message = worker.pipe.recv_bytes()
    except (EOFError, OSError) as error:
        raise _lost(worker, wanted, chunks) from error
    if message[:1] == b"D":
        raise DataError(message[1:].decode(errors="replace"))
    if message[:1] == b"M":
        raise MemoryError(message[1:].decode(errors="replace"))


def _lost(worker: Worker, wanted: Wanted, chunks: list[range]) -> Unavailable:
    """The error of a worker that has ended before its time."""
    worker.process.join()
    code = worker.process.exitcode or 0
    how = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
    where = _place(worker, wanted, chunks)
    text = f"a process that decodes images was {how}{where}"
    if code in (-signal.SIGKILL, -signal.SIGBUS):  # so does the system where memory is short
        return OutOfMemory(f"{text}, perhaps for want of memory: fewer machine.workers may help")
    return Unavailable(f"{text}; {WAY_OUT}")


def _place(worker: Worker, wanted: Wanted, chunks: list[range]) -> str:
    """' at FILE', the image that the worker was decoding; empty if it had decoded all."""
    places = [place for chunk in chunks for place in chunk]
    done = int(worker.done[0])
    if done >= len(places):
        return ""
    return f" at {wanted.files.place_of(int(wanted.numbers[places[done]]))}"


def _end(pool: list[Worker]) -> None:
    """Kill the workers, which ignore the signals to end, and may be stopped or stuck."""
    for worker in pool:
        worker.process.kill()
    for worker in pool:
        worker.process.join()
        worker.pipe.close()
    pool.clear()
