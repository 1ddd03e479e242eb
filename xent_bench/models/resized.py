"""A net that first resizes its images, for nets that take one size and sets that have another."""

from torch import Tensor, nn
from torch.nn import functional as F


class Resized(nn.Module):
    """Resizes images to `size` x `size` pixels, bilinearly, then calls `net`.

    Reduced images are smoothed first (antialiasing), as image files are when they are reduced.
    """

    def __init__(self, net: nn.Module, size: int) -> None:
        """`size` in pixels is the height and width that the net sees."""
        super().__init__()
        self.net, self.size = net, size

    def forward(self, images: Tensor) -> Tensor:
        """Raw outputs (n, classes) of images (n, channels, h, w)."""
        size = (self.size, self.size)
        if images.shape[-2:] != size:
            images = F.interpolate(images, size, mode="bilinear", antialias=True)
        outputs: Tensor = self.net(images)
        return outputs


def resized(net: nn.Module, size: int | None, shape: tuple[int, int, int]) -> nn.Module:
    """The net itself, or with a resizing before it where the images have another size."""
    return net if size is None or shape[1:] == (size, size) else Resized(net, size)


def seen(shape: tuple[int, int, int], size: int | None) -> tuple[int, int]:
    """Height and width of what the net sees."""
    return shape[1:] if size is None else (size, size)
