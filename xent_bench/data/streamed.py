"""Images of files on their way to the training device: decoded by workers, copied one ahead."""

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from xent_bench.data.image_files import Draw, ImageFiles
from xent_bench.failures import DataError
from xent_bench.types import Index, Rows

AHEAD = 4  # batches that each worker decodes ahead


class Streamed:
    """A split's images; the same in number of workers, since the draws come with the order."""

    def __init__(
        self, files: ImageFiles, device: torch.device, workers: int | None, *, flip: bool
    ) -> None:
        """Workers (None: one a core) start with the first pass and, for train, stay for others."""
        self.files, self.device, self.flip = files, device, flip
        self.shape = 3, files.size, files.size
        self.workers = len(os.sched_getaffinity(0)) if workers is None else workers
        self.plan = _Plan()
        self.loader: DataLoader[Any] | None = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def batches(self, order: Index, batch_size: int) -> Iterator[Rows]:
        """Their middle."""
        return self._read([(number, None) for number in order.tolist()], batch_size)

    def varied(self, order: Index, batch_size: int, rng: torch.Generator) -> Iterator[Rows]:
        """Cropped to a random part and mirrored."""
        draws = torch.rand(len(order), 5, generator=rng)
        if not self.flip:
            draws[:, 4] = 1
        wanted = zip(order.tolist(), map(tuple, draws.tolist()), strict=True)
        return self._read(list(wanted), batch_size, stay=True)

    def _read(
        self, wanted: list[tuple[int, Draw | None]], batch_size: int, *, stay: bool = False
    ) -> Iterator[Rows]:
        self.plan.wanted, self.plan.batch_size = wanted, batch_size
        if self.loader is None:
            self.loader = DataLoader(
                _Decoding(self.files),
                batch_sampler=self.plan,
                num_workers=self.workers,
                collate_fn=_as_it_is,
                pin_memory=self.device.type == "cuda",
                prefetch_factor=AHEAD if self.workers else None,
                persistent_workers=stay and self.workers > 0,
                generator=torch.Generator(),  # not the global one, which is dropout's
            )
        return (images.flatten(2) for images in _copied(self.loader, self.device))


class _Plan:
    """Which images make which batch of the next pass."""

    wanted: list[tuple[int, Draw | None]]
    batch_size: int

    def __len__(self) -> int:
        return -(-len(self.wanted) // self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, Draw | None]]]:
        for start in range(0, len(self.wanted), self.batch_size):
            yield self.wanted[start : start + self.batch_size]


class _Decoding(Dataset[Any]):
    """What happens in a worker. A failure comes back as a value: raised, it would be a page."""

    def __init__(self, files: ImageFiles) -> None:
        self.files = files

    def __getitems__(self, wanted: list[tuple[int, Draw | None]]) -> Tensor | str:
        try:
            return torch.from_numpy(self.files.decode(wanted))
        except DataError as error:
            return str(error)


def _as_it_is(batch: Any) -> Any:
    return batch


def _copied(batches: Any, device: torch.device) -> Iterator[Tensor]:
    """On a GPU the next batch is copied while the last one is computed with."""
    if device.type != "cuda":
        yield from map(_whole, batches)
        return
    beside, waiting = torch.cuda.Stream(device), None  # type: ignore[no-untyped-call]  # torch's
    for batch in batches:
        with torch.cuda.stream(beside):
            coming = _whole(batch).to(device, non_blocking=True)
            arrived = beside.record_event()
        if waiting is not None:
            yield _awaited(*waiting)
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
