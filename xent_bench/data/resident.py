"""Images that lie on the training device, where to vary one is to read it from elsewhere.

They lie there mirrored too where they may be mirrored, and with a reflected border where they are
cropped. An augmented image is then a window of memory: no arithmetic, no copy but the batch.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from xent_bench.data.augment import NO_AUGMENTATION, Augmentation
from xent_bench.types import Images, Index, Places, Rows


class Resident:
    """A split's images, in channels-last layout."""

    def __init__(
        self, images: Images, device: torch.device, augmentation: Augmentation = NO_AUGMENTATION
    ) -> None:
        """Flip and crop are prepared for; what else there is does not concern where images lie."""
        self.n, channels, h, w = images.shape
        self.shape = channels, h, w
        self.flip, self.border = augmentation.flip, augmentation.crop
        self.device = device
        kept = images.to(device).permute(0, 2, 3, 1)
        if self.flip:
            kept = torch.cat((kept, kept.flip(2)))
        if self.border:
            kept = _with_border(kept, self.border)
        self.width = (w + 2 * self.border) * channels  # of a row of pixels, in bytes
        self.size = (h + 2 * self.border) * self.width  # of an image
        # whole images are read at once; of a crop each row. All runs there may be, overlapping:
        run = w * channels * (1 if self.border else h)
        flat = kept.flatten()
        self.runs = flat.as_strided((len(flat) - run + 1, run), (1, 1))
        rows = h if self.border else 1
        self.offsets = torch.arange(rows, device=device) * self.width

    def __len__(self) -> int:
        """Number of images."""
        return self.n

    def batches(self, order: Index, batch_size: int) -> Iterator[Rows]:
        """As they are."""
        start = order.to(self.device) * self.size + self.border * (self.width + self.shape[0])
        return map(self._read, torch.split(start, batch_size))

    def varied(
        self, order: Index, places: Places, batch_size: int, rng: torch.Generator
    ) -> Iterator[Rows]:
        """Mirrored and cropped at random."""
        n = len(order)
        mirrored = torch.rand(n, generator=rng) < 0.5
        image = order + self.n * mirrored if self.flip else order
        start = image * self.size
        if self.border:
            row, column = torch.randint(2 * self.border + 1, (n, 2), generator=rng).unbind(1)
            start = start + row * self.width + column * self.shape[0]
        return map(self._read, torch.split(start[places].to(self.device), batch_size))

    def _read(self, start: Index) -> Rows:
        # index_select copies runs of bytes, where indexing would look up every pixel: 15 times
        # faster on a CPU
        runs = self.runs.index_select(0, (start[:, None] + self.offsets).flatten())
        return runs.view(len(start), self.shape[1], -1)


def _with_border(images: Tensor, border: int) -> Tensor:
    """Of (n, h, w, channels), reflected without repeating the outermost pixels."""
    for axis in (1, 2):
        length = images.shape[axis]
        place = torch.arange(-border, length + border, device=images.device).abs()
        place = torch.where(place < length, place, 2 * length - 2 - place)
        images = images.index_select(axis, place)
    return images
