"""The nets of timm, for any number of classes, channels and pixels.

Wightman, 2019, PyTorch Image Models, https://github.com/huggingface/pytorch-image-models.
"""

from typing import Any

from torch import nn

from xent_bench.models.resized import resized, seen
from xent_bench.models.timm_weights import TimmWeights
from xent_bench.models.torchvision_weights import refuse_size
from xent_bench.offered_weights import offers
from xent_bench.ranges import PositiveInt


@offers(TimmWeights())
def timm(
    shape: tuple[int, int, int], classes: int, *, name: str, size: PositiveInt | None = None
) -> nn.Module:
    """The net that timm lists as `name`, with an output for each class.

    timm builds the first layer for the number of channels, and nets of one size, such as vision
    transformers, for the size that they see. `size` resizes images to so many pixels within the
    net. Weights of a file: the filters of the first convolution are summed over its channels for 1
    channel; for n they are repeated in turn and multiplied by 3 / n.
    """
    from timm.models import create_model, get_pretrained_cfg  # takes a second to import

    sides = seen(shape, size)
    trained = get_pretrained_cfg(name)
    is_fixed = trained is not None and trained.fixed_input_size
    fixed: dict[str, Any] = {"img_size": sides} if is_fixed else {}
    try:
        net: nn.Module = create_model(name, num_classes=classes, in_chans=shape[0], **fixed)
    except (AssertionError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise refuse_size(name, *sides, error) from error
    return resized(net, size, shape)
