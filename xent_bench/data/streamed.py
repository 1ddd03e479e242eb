"""Images read from files: decoded by worker processes, copied to the training device ahead."""

import signal
from collections import deque
from collections.abc import Iterator
from itertools import islice
from multiprocessing import get_all_start_methods
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from xent_bench.data.image_files import ImageFiles
from xent_bench.failures import DataError
from xent_bench.process.processors import processors
from xent_bench.process.signals import ENDING_SIGNALS
from xent_bench.types import Index, Places, Rows

CHUNK = 64  # images that a worker decodes at a time: a whole batch would arrive late
AHEAD = 4  # chunks that each worker decodes ahead
QUEUED = 64  # chunks copied to a GPU and not used yet, at most: they take its memory
# fork is fast, and safe here: a worker uses neither the GPU nor a lock of its parent process
CONTEXT = "fork" if "fork" in get_all_start_methods() else None


class Streamed:
    """A split's images in files, the same for any number of workers: draws come with the order."""

    def __init__(
        self, files: ImageFiles, device: torch.device, workers: int | None, *, flip: bool
    ) -> None:
        """Decode in `workers` processes, new for each pass. None: one for each core; 0: none."""
        self.files, self.device, self.flip = files, device, flip
        self.shape = 3, files.size, files.size
        self.workers = processors() if workers is None else workers

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def batches(self, order: Index, batch_size: int) -> Iterator[Rows]:
        """Decode the images numbered `order`, each cropped to its central square."""
        return self._read(order, None, batch_size)

    def varied(
        self, order: Index, places: Places, batch_size: int, rng: torch.Generator
    ) -> Iterator[Rows]:
        """Decode the images numbered `order[places]`, each cropped and mirrored at random."""
        draws = torch.rand(len(order), 5, generator=rng)
        if not self.flip:
            draws[:, 4] = 1
        return self._read(order[places], draws[places], batch_size)

    def _read(self, order: Index, draws: Tensor | None, batch_size: int) -> Iterator[Rows]:
        """Decode the images numbered `order`, each with its row of `draws` if there are draws."""
        batches = torch.split(torch.arange(len(order)), batch_size)
        plan = [torch.split(batch, CHUNK) for batch in batches]
        loader = DataLoader(
            _Decoding(self.files, order, draws),
            batch_sampler=[chunk.tolist() for chunks in plan for chunk in chunks],
            num_workers=self.workers,
            collate_fn=_unchanged,
            worker_init_fn=_ignore_ending_signals,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=AHEAD if self.workers else None,
            multiprocessing_context=CONTEXT if self.workers else None,
            # without one the loader draws from the global generator, which dropout uses
            generator=torch.Generator(),
        )
        chunks = _copied(loader, self.device)
        for batch in plan:
            yield torch.cat(list(islice(chunks, len(batch)))).flatten(2)


class _Decoding(Dataset[Any]):
    """The work of a worker. An error is returned as text: raised, it would print a traceback."""

    def __init__(self, files: ImageFiles, order: Index, draws: Tensor | None) -> None:
        self.files, self.order, self.draws = files, order, draws

    def __getitems__(self, places: list[int]) -> Tensor | str:
        numbers = self.order[places].tolist()
        draws = [None] * len(places) if self.draws is None else self.draws[places].tolist()
        try:
            return torch.from_numpy(self.files.decode(list(zip(numbers, draws, strict=True))))
        except DataError as error:
            return str(error)


def _ignore_ending_signals(_: int) -> None:
    """Ignore the signals to end in a worker: the whole process group receives them.

    The run decides when to stop, and needs images until then.
    """
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _unchanged(chunk: Any) -> Any:
    """Return the chunk: `_Decoding` has put its images together already."""
    return chunk


def _copied(chunks: Any, device: torch.device) -> Iterator[Tensor]:
    """Copy decoded chunks to the device; a GPU computes with one while the next is copied."""
    if device.type != "cuda":
        yield from map(_decoded, chunks)
        return
    copying, waiting = torch.cuda.Stream(device), None  # type: ignore[no-untyped-call]  # torch's
    used: deque[Any] = deque()
    for chunk in chunks:
        if len(used) > QUEUED:  # work is queued faster than the GPU does it
            used.popleft().synchronize()
        with torch.cuda.stream(copying):
            coming = _decoded(chunk).to(device, non_blocking=True)
            arrived = copying.record_event()
        if waiting is not None:
            yield _awaited(*waiting)
            used.append(torch.cuda.current_stream(device).record_event())
        waiting = coming, arrived
    if waiting is not None:
        yield _awaited(*waiting)


def _awaited(chunk: Tensor, arrived: Any) -> Tensor:
    """Make the current stream wait for the copy, and keep the memory until it has used it."""
    stream = torch.cuda.current_stream(chunk.device)
    stream.wait_event(arrived)
    chunk.record_stream(stream)
    return chunk


def _decoded(chunk: Tensor | str) -> Tensor:
    """The chunk, or the DataError that a worker returned instead of it."""
    if isinstance(chunk, str):
        raise DataError(chunk)
    return chunk
