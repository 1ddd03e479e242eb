"""A trained net as one module: uint8 pixels in, calibrated probabilities out.

Normalisation, net, link and temperature are tensor operations within it, which torch.export and the
ONNX exporter take. All is computed in float32, whatever precision the run was trained in.
"""

import torch
from torch import Tensor, nn

from xent_bench.data.vectors import unit_length
from xent_bench.export.resampling import AnySize
from xent_bench.export.tensor_links import tensor_dividend
from xent_bench.links import BoundLink
from xent_bench.trained_net import TrainedNet
from xent_bench.trained_net.record import NetRecord


class CalibratedNet(nn.Module):
    """A net with all that its calibrated probabilities depend on.

    It takes images in uint8, (n, channels, h, w) with values from 0 to 255, or vectors in float32,
    (n, d), if it was trained on vectors. Images of another size than `record.shape` are reduced and
    cropped as the run's own files were, where `takes_any_size`; those of that size are taken as
    prepared already. With `whole_images` all are reduced and cropped, which is right for images as
    a file holds them: one that happens to have the net's size was cropped by the run too.
    """

    mean: Tensor  # (channels, 1, 1), in units of uint8
    std: Tensor

    def __init__(
        self, net: nn.Module, record: NetRecord, link: BoundLink, *, whole_images: bool = False
    ) -> None:
        """Unavailable for a link of the user's own that no graph can hold."""
        super().__init__()
        preprocessing = record.preprocessing
        self.net, self.record = net, record
        self.prepare: nn.Module = nn.Identity()
        if self.takes_any_size:
            self.prepare = AnySize(preprocessing.preparation, whole_images=whole_images)
        for name, moment in (("mean", preprocessing.mean), ("std", preprocessing.std)):
            self.register_buffer(name, torch.tensor(moment)[:, None, None])
        self.dividend = tensor_dividend(link, len(record.classes))

    @property
    def takes_any_size(self) -> bool:
        """Whether the record says how an image of any size becomes one of the net's size."""
        return self.record.preprocessing.takes_any_size

    @property
    def takes_vectors(self) -> bool:
        """Whether the input is a vector of features, and no image."""
        return self.record.preprocessing.vectors is not None

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities (n, classes) in float32, which sum to 1 in each row.

        ValueError for images of another type or shape.
        """
        self._check(images)
        outputs = self.net(self._normalised(images)).float()
        divided = self.dividend(outputs)
        # the largest is subtracted first: a small temperature would carry its rounding along
        shifted = divided - divided.amax(dim=1, keepdim=True)
        return torch.softmax(shifted / self.record.temperature, dim=1).float()

    def example(self, n: int = 2) -> Tensor:
        """An input of n images, or vectors, of zeros."""
        channels, h, w = self.record.shape
        if self.takes_vectors:
            return torch.zeros(n, channels)
        return torch.zeros(n, channels, h, w, dtype=torch.uint8)

    def _normalised(self, images: Tensor) -> Tensor:
        if self.takes_vectors:
            is_unit = self.record.preprocessing.vectors == "unit"
            rows = unit_length(images) if is_unit else images
            images = rows[:, :, None, None]
        pixels: Tensor = self.prepare(images).float()
        return (pixels - self.mean) / self.std

    def _check(self, images: Tensor) -> None:
        channels, h, w = self.record.shape
        dtype, shape = (
            (torch.float32, (channels,)) if self.takes_vectors else (torch.uint8, (channels, h, w))
        )
        wanted = str(shape)[1:-1].rstrip(",")
        fits = images.ndim == len(shape) + 1 and images.dtype == dtype
        if fits and self.takes_any_size:
            fits, wanted = images.shape[1] == channels, f"{channels}, height, width"
        elif fits:
            fits = tuple(images.shape[1:]) == shape
        if not fits:
            got = f"{images.dtype} of shape {tuple(images.shape)}"
            raise ValueError(f"expected {dtype} of shape (n, {wanted}), got {got}")


def calibrated_net(trained: TrainedNet, *, whole_images: bool = False) -> CalibratedNet:
    """Join a trained net with its preprocessing, link and temperature, in evaluation mode.

    The net's weights are shared with `trained`, and need no gradient afterwards. `whole_images` is
    as for CalibratedNet. Unavailable for a link of the user's own that no graph can hold.
    """
    net = CalibratedNet(trained.net, trained.record, trained.link, whole_images=whole_images)
    return net.to(trained.device).eval().requires_grad_(False)
