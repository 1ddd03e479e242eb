"""Images read from files: decoded by worker processes, copied to the training device ahead."""

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from xent_bench.data.decoders import Wanted, decode_in_workers
from xent_bench.data.image_files import ImageFiles
from xent_bench.process.processors import processors
from xent_bench.types import Index, Places, Rows

CHUNK = 64  # images that a worker decodes at a time: a whole batch would arrive late
QUEUED = 64  # chunks copied to a GPU and not used yet, at most: they take its memory


class Streamed:
    """A split's images in files, the same for any number of workers: draws come with the order."""

    def __init__(
        self,
        files: ImageFiles,
        device: torch.device,
        workers: int | None,
        *,
        flip: bool,
        timeout: float | None = None,
    ) -> None:
        """Decode in `workers` processes, new for each pass. None: one for each core; 0: none.

        A worker that decodes nothing for `timeout` seconds ends the run; None: it is waited for.
        """
        self.files, self.device, self.flip, self.timeout = files, device, flip, timeout
        _, *shape = files.shape
        self.shape = shape[0], shape[1], shape[2]
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
        starts = range(0, len(order), batch_size)
        plan = [_chunks(start, min(start + batch_size, len(order))) for start in starts]
        rows = None if draws is None else draws.numpy()
        wanted = Wanted(self.files, order.numpy(), rows)
        decoded = self._decoded(wanted, [chunk for batch in plan for chunk in batch])
        chunks = _copied(decoded, self.device)
        for batch in plan:
            yield torch.cat(list(islice(chunks, len(batch)))).flatten(2)

    def _decoded(self, wanted: Wanted, chunks: list[range]) -> Iterator[Tensor]:
        """Decode chunk by chunk to memory of its own: pinned, where a GPU is to copy from it."""
        pinned = self.device.type == "cuda"
        if self.workers:
            decoded = decode_in_workers(wanted, chunks, self.workers, self.timeout)
        else:
            decoded = (wanted.files.decode([*map(wanted.at, chunk)]) for chunk in chunks)
        for pixels in decoded:
            chunk = torch.empty(pixels.shape, dtype=torch.uint8, pin_memory=pinned)
            yield chunk.copy_(torch.from_numpy(pixels))


def _chunks(start: int, stop: int) -> list[range]:
    """Ranges of at most CHUNK places, from start to stop - 1."""
    return [range(first, min(first + CHUNK, stop)) for first in range(start, stop, CHUNK)]


def _copied(chunks: Iterator[Tensor], device: torch.device) -> Iterator[Tensor]:
    """Copy decoded chunks to the device; a GPU computes with one while the next is copied."""
    if device.type != "cuda":
        yield from chunks
        return
    copying, waiting = torch.cuda.Stream(device), None  # type: ignore[no-untyped-call]  # torch's
    used: deque[Any] = deque()
    for chunk in chunks:
        if len(used) > QUEUED:  # work is queued faster than the GPU does it
            used.popleft().synchronize()
        with torch.cuda.stream(copying):
            coming = chunk.to(device, non_blocking=True)
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
