"""Images of files on their way to the training device: decoded by workers, copied ahead."""

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

PART = 64  # images that a worker decodes at a time: whole batches would come late
AHEAD = 4  # parts of each worker
QUEUED = 64  # parts that a GPU has been given and not yet used: they take its memory
# Quick, and safe here: a worker uses neither the GPU nor a lock of the process it comes from.
CONTEXT = "fork" if "fork" in get_all_start_methods() else None


class Streamed:
    """A split's images; the same with any number of workers, since draws come with the order."""

    def __init__(
        self, files: ImageFiles, device: torch.device, workers: int | None, *, flip: bool
    ) -> None:
        """Workers (None: one a core) live for one pass."""
        self.files, self.device, self.flip = files, device, flip
        self.shape = 3, files.size, files.size
        self.workers = processors() if workers is None else workers

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def batches(self, order: Index, batch_size: int) -> Iterator[Rows]:
        """Their middle."""
        return self._read(order, None, batch_size)

    def varied(
        self, order: Index, places: Places, batch_size: int, rng: torch.Generator
    ) -> Iterator[Rows]:
        """Cropped to a random part and mirrored."""
        draws = torch.rand(len(order), 5, generator=rng)
        if not self.flip:
            draws[:, 4] = 1
        return self._read(order[places], draws[places], batch_size)

    def _read(self, order: Index, draws: Tensor | None, batch_size: int) -> Iterator[Rows]:
        batches = torch.split(torch.arange(len(order)), batch_size)
        plan = [torch.split(batch, PART) for batch in batches]
        loader = DataLoader(
            _Decoding(self.files, order, draws),
            batch_sampler=[part.tolist() for parts in plan for part in parts],
            num_workers=self.workers,
            collate_fn=_as_it_is,
            worker_init_fn=_heed_the_parent_alone,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=AHEAD if self.workers else None,
            multiprocessing_context=CONTEXT if self.workers else None,
            generator=torch.Generator(),  # not the global one, which is dropout's
        )
        parts = _copied(loader, self.device)
        for expected in plan:
            yield torch.cat(list(islice(parts, len(expected)))).flatten(2)


class _Decoding(Dataset[Any]):
    """What happens in a worker. A failure comes back as a value: raised, it would be a page."""

    def __init__(self, files: ImageFiles, order: Index, draws: Tensor | None) -> None:
        self.files, self.order, self.draws = files, order, draws

    def __getitems__(self, places: list[int]) -> Tensor | str:
        numbers = self.order[places].tolist()
        draws = [None] * len(places) if self.draws is None else self.draws[places].tolist()
        try:
            return torch.from_numpy(self.files.decode(list(zip(numbers, draws, strict=True))))
        except DataError as error:
            return str(error)


def _heed_the_parent_alone(_: int) -> None:
    """What tells a whole process group to end is for the run, which still needs its images."""
    for each in ENDING_SIGNALS:
        signal.signal(each, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch


def _copied(parts: Any, device: torch.device) -> Iterator[Tensor]:
    """On a GPU the next part is copied while the last one is computed with."""
    if device.type != "cuda":
        yield from map(_whole, parts)
        return
    beside, waiting = torch.cuda.Stream(device), None  # type: ignore[no-untyped-call]  # torch's
    used: deque[Any] = deque()
    for part in parts:
        if len(used) > QUEUED:  # a net that is told faster than it works
            used.popleft().synchronize()
        with torch.cuda.stream(beside):
            coming = _whole(part).to(device, non_blocking=True)
            arrived = beside.record_event()
        if waiting is not None:
            yield _awaited(*waiting)
            used.append(torch.cuda.current_stream(device).record_event())
        waiting = coming, arrived
    if waiting is not None:
        yield _awaited(*waiting)


def _awaited(batch: Tensor, arrived: Any) -> Tensor:
    """To be used by the current stream, and not freed before that has used it."""
    stream = torch.cuda.current_stream(batch.device)
    stream.wait_event(arrived)
    batch.record_stream(stream)
    return batch


def _whole(batch: Tensor | str) -> Tensor:
    if isinstance(batch, str):
        raise DataError(batch)
    return batch
