"""The classification nets of torchvision, for any number of classes, channels and pixels.

torchvision maintainers, 2016, https://pytorch.org/vision/stable/models.html.
"""

from typing import Any

from torch import nn

from xent_bench.models.resized import resized, seen
from xent_bench.models.torchvision_weights import TorchvisionWeights, refuse_size
from xent_bench.offered_weights import offers
from xent_bench.ranges import PositiveInt

# They also predict from layers within, in training alone: a loss here takes one tensor of outputs.
WITH_EARLY_OUTPUTS = ("googlenet", "inception_v3")


@offers(TorchvisionWeights())
def torchvision(
    shape: tuple[int, int, int], classes: int, *, name: str, size: PositiveInt | None = None
) -> nn.Module:
    """The net that torchvision lists as `name`, with an output for each class.

    For images of another number of channels than 3 its first convolution is a new one. `size`
    resizes images to so many pixels within the net. Vision transformers are built for the size that
    they see. Weights of a file: the filters of the first convolution are summed over its channels
    for 1 channel; for n they are repeated in turn and multiplied by 3 / n. So a grey image gives
    what it gives when it is repeated three times.
    """
    from torchvision.models import get_model_builder  # takes seconds to import

    channels, (height, width) = shape[0], seen(shape, size)
    try:
        net = get_model_builder(name)(num_classes=classes, **_arguments(name, height, width))
    except (AssertionError, RuntimeError, ValueError) as error:
        raise refuse_size(name, height, width, error) from error
    if channels != 3:
        _take_channels(net, channels)
    return resized(net, size, shape)


def _arguments(name: str, height: int, width: int) -> dict[str, Any]:
    """What the builder of a net takes beside the number of classes."""
    if name in WITH_EARLY_OUTPUTS:
        return {"aux_logits": False, "init_weights": True}
    if name.startswith("vit_"):
        if height != width:
            raise ValueError("it takes squares")
        return {"image_size": height}
    return {"input_size": (height, width)} if name.startswith("maxvit") else {}


def _take_channels(net: nn.Module, channels: int) -> None:
    """Replace the first convolution by a new one for so many channels."""
    name, first = next((n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d))
    above, _, last = name.rpartition(".")
    convolution = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]  # a pair, which mypy takes for any tuple
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    setattr(net.get_submodule(above), last, convolution)
