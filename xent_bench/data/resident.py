"""Images in the memory of the training device, where augmentation only changes what is read.

A data set that is mirrored is stored twice, the second time mirrored; one that is cropped is stored
with a reflected border. An augmented image is then a window of that memory: to read it takes no
arithmetic and no copy other than the batch itself.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from xent_bench.data.augment import NO_AUGMENTATION, Augmentation
from xent_bench.failures import OutOfMemory, Unavailable
from xent_bench.types import Images, Index, Places, Rows


class Resident:
    """A split's images in device memory, in channels-last layout."""

    def __init__(
        self, images: Images, device: torch.device, augmentation: Augmentation = NO_AUGMENTATION
    ) -> None:
        """Store the images as `flip` and `crop` need them; other augmentations work on batches."""
        self.n, channels, h, w = images.shape
        self.shape = channels, h, w
        self.flip, self.border = augmentation.flip, augmentation.crop
        self.device = device
        stored = images.to(device).permute(0, 2, 3, 1)
        if self.flip:
            stored = torch.cat((stored, stored.flip(2)))
        if self.border:
            stored = _with_border(stored, self.border)
        self.width = (w + 2 * self.border) * channels  # of a stored row of pixels, in bytes
        self.size = (h + 2 * self.border) * self.width  # of a stored image, in bytes
        # a whole image is one run of bytes; a crop is one run for each row. The view `runs` has the
        # run that begins at each byte; they overlap, and take no memory.
        run = w * channels * (1 if self.border else h)
        flat = stored.flatten()
        self.runs = flat.as_strided((len(flat) - run + 1, run), (1, 1))
        rows = h if self.border else 1
        self.offsets = torch.arange(rows, device=device) * self.width

    def __len__(self) -> int:
        """Number of images."""
        return self.n

    def batches(self, order: Index, batch_size: int) -> Iterator[Rows]:
        """Read the images numbered `order`, without augmentation."""
        start = order.to(self.device) * self.size + self.border * (self.width + self.shape[0])
        return map(self._read, torch.split(start, batch_size))

    def varied(
        self, order: Index, places: Places, batch_size: int, rng: torch.Generator
    ) -> Iterator[Rows]:
        """Read the images numbered `order[places]`, mirrored and cropped at random."""
        n = len(order)
        mirrored = torch.rand(n, generator=rng) < 0.5
        image = order + self.n * mirrored if self.flip else order
        start = image * self.size
        if self.border:
            row, column = torch.randint(2 * self.border + 1, (n, 2), generator=rng).unbind(1)
            start = start + row * self.width + column * self.shape[0]
        return map(self._read, torch.split(start[places].to(self.device), batch_size))

    def _read(self, start: Index) -> Rows:
        """Read the images whose first bytes are at `start`, as rows of pixels."""
        # index_select copies runs of bytes; indexing would look up every pixel, 15 times slower on
        # a CPU
        runs = self.runs.index_select(0, (start[:, None] + self.offsets).flatten())
        return runs.view(len(start), self.shape[1], -1)


def stored_bytes(
    n: int, shape: tuple[int, int, int], augmentation: Augmentation = NO_AUGMENTATION
) -> int:
    """Bytes of n images as `Resident` stores them."""
    channels, h, w = shape
    border = 2 * augmentation.crop
    return n * (1 + augmentation.flip) * channels * (h + border) * (w + border)


def refuse_larger_than_gpu(
    splits: Sequence[int],
    shape: tuple[int, int, int],
    augmentation: Augmentation,
    device: torch.device,
) -> None:
    """Raise an error before images are copied to a GPU whose memory cannot hold them.

    `splits`: numbers of images, those of train first. Unavailable if no other program's end would
    help, else OutOfMemory.
    """
    if device.type != "cuda":
        return
    train, *evaluated = splits
    stored = stored_bytes(train, shape, augmentation)
    # mirrored or bordered images are made beside those that they are made of
    making = stored * (1 + bool(augmentation.flip or augmentation.crop))
    needed = max(making, stored + sum(stored_bytes(n, shape) for n in evaluated))
    free, total = torch.cuda.mem_get_info(device)
    if needed > free:
        raise (Unavailable if needed > total else OutOfMemory)(
            f"not enough memory: the images lie in the GPU's, and need {needed / 2**30:.1f} GiB "
            f"there, of which {free / 2**30:.1f} of {total / 2**30:.1f} are free; a set of image "
            "files (data=image_folder) is read from the disk instead, and data.flip=false and "
            "data.crop=0 halve the need"
        )


def _with_border(images: Tensor, border: int) -> Tensor:
    """Add a border to (n, h, w, channels) by reflection that does not repeat the edge pixels."""
    for axis in (1, 2):
        length = images.shape[axis]
        place = torch.arange(-border, length + border, device=images.device).abs()
        place = torch.where(place < length, place, 2 * length - 2 - place)
        images = images.index_select(axis, place)
    return images
