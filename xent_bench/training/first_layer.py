"""The first layer of a net, with the rounding that it has where several nets are computed as one.

The matrix library of a CPU computes products with fewer than `NARROW` columns by another routine,
which adds in another order. Stacked nets that see the same images have their columns in one wide
matrix, so that their sums would differ in the last bits from those of each net alone. With columns
of zeros a narrow layer takes the routine of the wide ones, in training alone: what a run learns
does not depend on how many others are trained with it.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from xent_bench.types import Logits, Pixels

NARROW = 12  # columns
WIDE = 256  # inputs, from which much is gained where nets share a matrix


def is_padded(outputs: int, inputs: int) -> bool:
    """Whether a first layer of this size is computed with columns of zeros."""
    return outputs < NARROW and inputs >= WIDE


def first_linear(net: nn.Module, pixels: int) -> nn.Linear | None:
    """The linear layer that reads all values of an image, if the net begins with one."""
    linear = (module for module in net.modules() if isinstance(module, nn.Linear))
    first = next(linear, None)
    return first if first is not None and first.in_features == pixels else None


def padded_columns(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (k, d) or (nets, k, d) and biases with zeros after their k outputs, up to NARROW."""
    lacking = max(0, NARROW - weight.shape[-2])
    return F.pad(weight, (0, 0, 0, lacking)), F.pad(bias, (0, lacking))


def training_pass(net: nn.Module, pixels: int) -> Callable[[Pixels], Logits]:
    """The function that computes a net's outputs in training; `pixels` are the values of an image.

    Its outputs are those of `net`, to rounding.
    """
    layer = first_linear(net, pixels)
    if layer is None or not _is_plain(layer) or not is_padded(*layer.weight.shape):
        return net.__call__  # not net.forward, which leaves out the hooks of the net

    def padded(x: Tensor) -> Tensor:
        bias = layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
        outputs: Tensor = _PaddedProduct.apply(x.flatten(0, -2), layer.weight, bias)
        return outputs.view(*x.shape[:-1], -1)

    def forward(images: Pixels) -> Logits:
        if images.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return net(images)  # type: ignore[no-any-return]  # a module's outputs are untyped
        layer.forward = padded  # type: ignore[method-assign, assignment]  # for this call
        try:
            return net(images)  # type: ignore[no-any-return]
        finally:
            del layer.forward

    return forward


def _is_plain(layer: nn.Linear) -> bool:
    """Whether a layer computes what PyTorch's does, and not what its user has put in its place."""
    return type(layer) is nn.Linear and "forward" not in vars(layer)


class _PaddedProduct(torch.autograd.Function):
    """x W^T + b, computed with at least NARROW columns."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        columns, offsets = padded_columns(weight, bias)
        return torch.addmm(offsets, x, columns.t())[:, : len(weight)]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        of_x = torch.mm(gradient, weight) if ctx.needs_input_grad[0] else None
        return of_x, torch.mm(gradient.t(), x), gradient.sum(0)
