"""Vectors gathered row by row for each batch, from memory or from the map of their file."""

from collections.abc import Iterator
from itertools import starmap
from typing import Any

import torch
from torch import Tensor

from xent_bench.data.vectors import CHUNK, Vectors, unit_length
from xent_bench.types import Index, Places, Rows

# share of a GPU's free memory that a split's vectors may take, which are there twice for a moment;
# others are copied batch by batch
ROOM = 0.4


class Gathered:
    """A split's vectors: on a CPU they stay where they lie, on a GPU they lie in its memory."""

    def __init__(
        self, vectors: Vectors, ids: Index, device: torch.device, *, varied: bool = False
    ) -> None:
        """`varied` prepares to draw views, if there are any. `ids` are rows of `vectors`."""
        self.vectors, self.ids, self.device = vectors, ids, device
        self.shape = int(vectors.shape[1]), 1, 1
        self.views = int(vectors.views[0].shape[1]) if varied and vectors.views else 0
        self.stored: Tensor | None = None
        if device.type == "cuda" and self._fits():
            self.stored = self._copied()

    def __len__(self) -> int:
        """Number of vectors."""
        return len(self.ids)

    def batches(self, order: Index, batch_size: int) -> Iterator[Rows]:
        """Read the plain vectors numbered `order`."""
        if self.stored is not None and not self.views:
            return map(self._at, torch.split(order.to(self.device), batch_size))
        return map(self._read, torch.split(self.ids[order], batch_size))

    def varied(
        self, order: Index, places: Places, batch_size: int, rng: torch.Generator
    ) -> Iterator[Rows]:
        """Read the vectors numbered `order[places]`, of each a view that is drawn at random."""
        if not self.views:
            return self.batches(order[places], batch_size)
        view = torch.randint(self.views, (len(order),), generator=rng)[places]
        if self.stored is not None:
            chosen = order[places] * self.views + view
            return map(self._at, torch.split(chosen.to(self.device), batch_size))
        columns = self.ids[order[places]], view
        batches: Any = zip(*(torch.split(column, batch_size) for column in columns), strict=True)
        return starmap(self._read, batches)

    def _read(self, ids: Index, view: Index | None = None) -> Rows:
        """Copy rows from where they lie to the device."""
        rows = self.vectors.take(ids, view)
        if self.device.type == "cuda":
            rows = rows.pin_memory().to(self.device, non_blocking=True)
        return self._finished(rows)

    def _at(self, places: Index) -> Rows:
        assert self.stored is not None
        return self._finished(self.stored.index_select(0, places))

    def _finished(self, rows: Tensor) -> Rows:
        rows = rows.float()
        return (unit_length(rows) if self.vectors.normalise == "unit" else rows)[:, None]

    def _fits(self) -> bool:
        part = (self.vectors.views if self.views else self.vectors.parts)[0]
        needed = len(self.ids) * max(1, self.views) * self.shape[0] * part.element_size()
        return needed <= ROOM * torch.cuda.mem_get_info(self.device)[0]

    def _copied(self) -> Tensor:
        """The rows in the device's memory, all views of a vector one after the other."""
        several = max(1, self.views)
        view = torch.arange(several)
        copies = [
            self.vectors.take(
                ids.repeat_interleave(several), view.repeat(len(ids)) if self.views else None
            ).to(self.device)
            for ids in torch.split(self.ids, max(1, CHUNK // several))
        ]
        return torch.cat(copies)
