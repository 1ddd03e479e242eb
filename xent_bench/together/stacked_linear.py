"""Linear layers of several nets as one batched product, with the bits of each net's own.

The rows of a product do not depend on how many other nets are in the batch. Where all nets see the
same inputs, their weights stand side by side in one matrix, which reads the inputs once. Products
with fewer than `NARROW` columns are another routine of the matrix library, which rounds otherwise:
there nets share a matrix only if their inputs are wide, where much is gained and where a net alone
takes the routine of the wide ones too.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from xent_bench.training.first_layer import NARROW, WIDE, is_turned


class StackedLinear(torch.autograd.Function):
    """z = x W^T + b, which `torch.func.vmap` computes for all nets at once."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None, reads_images: bool) -> Tensor:  # noqa: ARG004  as torch calls it
        """One net's layer, as PyTorch computes it."""
        return F.linear(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep nothing: gradients are those of the batched layer."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """Refuse: this layer is used within vmap alone."""
        raise NotImplementedError("StackedLinear has gradients within torch.func.vmap alone")

    @staticmethod
    def vmap(
        _info: Any,
        in_dims: tuple[Any, ...],
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        reads_images: bool,
    ) -> tuple[Tensor, int]:
        """The layers of all nets: x (n, d) for all or (nets, n, d), weight (nets, k, d).

        `reads_images` says that the layer is the first, whose inputs the nets of a seed share.
        """
        if in_dims[1] != 0 or in_dims[2] not in (0, None):
            raise NotImplementedError("expected weights that are stacked along the first axis")
        is_shared = in_dims[0] is None
        if not is_shared:
            x = x.movedim(in_dims[0], 0)
        rows = x.reshape(-1, x.shape[-1]) if is_shared else x.flatten(1, -2)
        if bias is None:
            bias = weight.new_zeros(weight.shape[:2])
        if is_shared:
            outputs = shared_product(rows, weight, bias)
            return outputs.view(len(weight), *x.shape[:-1], -1), 0
        is_wide = reads_images and is_turned(*weight.shape[1:])
        return batched_product(rows, weight, bias, wide=is_wide).view(*x.shape[:-1], -1), 0


def shared_product(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "nets k d"], bias: Float[Tensor, "nets k"]
) -> Float[Tensor, "nets n k"]:
    """x W_i^T + b_i for each net i, all of which see the same x."""
    if _shares_a_matrix(weight):
        outputs: Tensor = _SharedProduct.apply(x, weight, bias)
        return outputs
    return batched_product(x.expand(len(weight), *x.shape), weight, bias)


def batched_product(
    x: Float[Tensor, "nets n d"],
    weight: Float[Tensor, "nets k d"],
    bias: Float[Tensor, "nets k"],
    *,
    wide: bool = False,
) -> Float[Tensor, "nets n k"]:
    """x_i W_i^T + b_i for each net i; `wide`: with the rounding of a `shared_product`."""
    outputs: Tensor = _BatchedProduct.apply(x, weight, bias, wide)
    return outputs


def _padded(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (k, d) or (nets, k, d) and biases with zeros after their k outputs, up to NARROW."""
    lacking = max(0, NARROW - weight.shape[-2])
    return F.pad(weight, (0, 0, 0, lacking)), F.pad(bias, (0, lacking))


def _shares_a_matrix(weight: Tensor) -> bool:
    _, outputs, inputs = weight.shape
    return outputs >= NARROW or inputs >= WIDE


class _SharedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        nets, k, d = weight.shape
        columns, offsets = weight.reshape(nets * k, d), bias.flatten()
        if len(columns) < NARROW:  # as wide as where other nets are beside this one
            columns, offsets = _padded(columns, offsets)
        product = torch.addmm(offsets, x, columns.t())[:, : nets * k]
        return product.view(len(x), nets, k).transpose(0, 1).contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        nets, n, k = gradient.shape
        side_by_side = gradient.transpose(0, 1).reshape(n, nets * k)
        of_weight = torch.mm(side_by_side.t(), x).view(nets, k, -1)
        return None, of_weight, gradient.sum(1)


class _BatchedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, wide: bool) -> Tensor:
        ctx.save_for_backward(x, weight)
        columns = weight
        n_columns = weight.shape[1]
        if wide:
            columns, bias = _padded(weight, bias)
        return torch.baddbmm(bias[:, None], x, columns.mT)[..., :n_columns]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        of_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        return of_x, torch.bmm(gradient.mT, x), gradient.sum(1), None
