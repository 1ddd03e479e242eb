"""Nets of one architecture as one: stacked weights, and one call of each layer for all of them."""

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from xent_bench.randomness import set_generator_states
from xent_bench.together.stacked_linear import (
    StackedLinear,
    batched_product,
    shared_product,
)
from xent_bench.training.first_layer import first_linear, is_turned
from xent_bench.types import Pixels

# layers on vectors that are functions of each number alone, and those that are treated here
CHAINED = (
    *(nn.Flatten, nn.Linear, nn.Dropout, nn.Identity),
    *(nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh, nn.Sigmoid, nn.Softplus),
)
SHARING = 4  # nets that see the same images, from which a block of their own is faster


class StackedNets:
    """The weights of several nets in one tensor for each parameter, and their outputs together."""

    def __init__(self, nets: Sequence[nn.Module], counts: Sequence[int], pixels: int) -> None:
        """Stack copies of the nets' weights and buffers; `share_memory` ties the nets to them.

        `counts` are the numbers of nets that see the same images, one block after the other;
        `pixels` is the number of values of an image.
        """
        self.nets, self.counts = nets, list(counts)
        self.weights = {
            name: torch.stack([net.get_parameter(name).detach() for net in nets]).requires_grad_()
            for name, _ in nets[0].named_parameters()
        }
        self.buffers = {
            name: torch.stack([net.get_buffer(name) for net in nets])
            for name, _ in nets[0].named_buffers()
        }
        self.parameters = {name: [net.get_parameter(name) for net in nets] for name in self.weights}
        # the block of each net, on the device from the start: a copy to it would wait for the GPU
        blocks = torch.arange(len(self.counts)).repeat_interleave(torch.tensor(self.counts))
        self.block_of_net = blocks.to(next(iter(self.weights.values())).device)
        self.layers = _layers(nets[0])
        skeleton = deepcopy(nets[0])
        self.skeleton = _with_stacked_layers(skeleton, first_linear(skeleton, pixels))
        self.dropouts = {
            name: module
            for name, module in self.skeleton.named_modules()
            if isinstance(module, _MaskedDropout)
        }

    def share_memory(self) -> None:
        """Let the nets' own weights and buffers be views of the stacked ones from now on."""
        for number, net in enumerate(self.nets):
            for name, weight in net.named_parameters():
                weight.data = self.weights[name].data[number]
            for name, buffer in net.named_buffers():
                buffer.data = self.buffers[name][number]

    def outputs(
        self, images: Sequence[Pixels], masks: Sequence[Mapping[str, Tensor]]
    ) -> Float[Tensor, "nets n c"]:
        """Outputs of all nets in training; `images` and masks of dropout are those of each block.

        Blocks of several nets are computed one after the other, each with one product for all that
        see the same images. Small blocks are one, in which each net has a copy of its images.
        """
        if self.layers is not None:
            return self._through_layers(self.layers, images, masks)
        if self._share_images:
            weights = _split(self.weights, self.counts)
            buffers = _split(self.buffers, self.counts)
            blocks = zip(weights, buffers, images, masks, strict=True)
            return torch.cat([self._call(*block, axis=None) for block in blocks])
        own_masks = {name: self._of_nets([mask[name] for mask in masks]) for name in masks[0]}
        return self._call(self.weights, self.buffers, self._of_nets(images), own_masks, axis=0)

    @property
    def _share_images(self) -> bool:
        return len(self.nets) >= SHARING * len(self.counts)

    def _of_nets(self, of_blocks: Sequence[Tensor]) -> Tensor:
        """The tensor of each block, once for each net."""
        return torch.stack(list(of_blocks))[self.block_of_net]

    def _through_layers(
        self,
        layers: Sequence[tuple[str, nn.Module]],
        images: Sequence[Pixels],
        masks: Sequence[Mapping[str, Tensor]],
    ) -> Tensor:
        """Outputs of nets that are a chain of layers on vectors, without vmap, which takes time."""
        outputs: Tensor | None = None
        for name, layer in layers:
            if isinstance(layer, nn.Linear):
                weight, bias = self._of_layer(name, layer)
                if outputs is None:
                    outputs = self._first_layer([one.flatten(1) for one in images], weight, bias)
                else:
                    outputs = batched_product(outputs, weight, bias)
            elif outputs is None:
                continue  # the images are vectors already
            elif isinstance(layer, nn.Dropout):
                if layer.p:
                    outputs = outputs * self._of_nets([mask[name] for mask in masks])
            else:
                outputs = layer(outputs)
        assert outputs is not None
        return outputs

    def _of_layer(self, name: str, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        weight = self.weights[f"{name}.weight"]
        if layer.bias is None:
            return weight, weight.new_zeros(weight.shape[:2])
        return weight, self.weights[f"{name}.bias"]

    def _first_layer(self, images: Sequence[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
        if not self._share_images:
            wide = is_turned(*weight.shape[1:])
            return batched_product(self._of_nets(images), weight, bias, wide=wide)
        parts = zip(
            images,
            torch.split(weight, self.counts),
            torch.split(bias, self.counts),
            strict=True,
        )
        return torch.cat([shared_product(*part) for part in parts])

    def _call(
        self,
        weights: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
        images: Tensor,
        masks: Mapping[str, Tensor],
        *,
        axis: int | None,
    ) -> Tensor:
        """Outputs of some nets; `axis` is that of images and masks which numbers the nets."""
        self.skeleton.train()

        def call(
            weights: dict[str, Tensor],
            buffers: dict[str, Tensor],
            images: Tensor,
            masks: dict[str, Tensor],
        ) -> Tensor:
            for name, mask in masks.items():
                self.dropouts[name].mask = mask
            outputs: Tensor = functional_call(self.skeleton, (weights, buffers), (images,))
            return outputs

        try:
            together = vmap(call, in_dims=(0, 0, axis, axis))
            outputs: Tensor = together(dict(weights), dict(buffers), images, dict(masks))
        finally:
            for dropout in self.dropouts.values():
                dropout.mask = None
        return outputs

    def gradients(self) -> list[Tensor]:
        """Take the gradients of the stacked weights, in their order."""
        gradients = []
        for stacked in self.weights.values():
            assert stacked.grad is not None
            gradients.append(stacked.grad)
            stacked.grad = None
        return gradients

    def of_each_net(self, gradients: Sequence[Tensor]) -> list[tuple[nn.Parameter, Tensor]]:
        """Each net's own parameters with their part of the stacked gradients."""
        pairs: list[tuple[nn.Parameter, Tensor]] = []
        for parameters, stacked in zip(self.parameters.values(), gradients, strict=True):
            pairs += zip(parameters, stacked.unbind(), strict=True)
        return pairs


def _split(stacked: Mapping[str, Tensor], counts: Sequence[int]) -> list[dict[str, Tensor]]:
    """The stacked tensors of each block."""
    parts = {name: torch.split(tensor, list(counts)) for name, tensor in stacked.items()}
    return [{name: part[number] for name, part in parts.items()} for number in range(len(counts))]


class MaskShapes:
    """The shapes that dropout sees in a pass through a net, in the order of its calls."""

    def __init__(self, net: nn.Module, images: Pixels) -> None:
        """Look at one pass of a copy of the net over a minibatch."""
        copy = deepcopy(net).train()
        self.calls: list[tuple[str, float, Tensor]] = []
        for name, module in copy.named_modules():
            if isinstance(module, nn.Dropout) and module.p:
                module.register_forward_pre_hook(self._hook(name, module.p))
        before = torch.get_rng_state()
        with torch.no_grad():
            copy(images)
        torch.set_rng_state(before)
        names = [name for name, _, _ in self.calls]
        if len(set(names)) < len(names):
            raise NotImplementedError("a dropout that is used several times in a pass")

    def _hook(self, name: str, share: float):  # type: ignore[no-untyped-def]  # a hook of torch's
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.calls.append((name, share, torch.empty_like(inputs[0])))

        return hook

    def draw(
        self, generators: tuple[Tensor, Tensor | None], device: torch.device
    ) -> dict[str, Tensor]:
        """Draw the masks of a step as dropout does: 1 / (1 - p) with probability 1 - p, else 0."""
        set_generator_states(generators, device)
        return {
            name: torch.empty_like(like).bernoulli_(1 - share).div_(1 - share)
            for name, share, like in self.calls
        }


class _Linear(nn.Module):
    """A linear layer that vmap computes as one product."""

    def __init__(self, layer: nn.Linear, *, reads_images: bool) -> None:
        super().__init__()
        self.weight, self.bias, self.reads_images = layer.weight, layer.bias, reads_images

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = StackedLinear.apply(x, self.weight, self.bias, self.reads_images)
        return outputs


class _MaskedDropout(nn.Module):
    """A dropout whose mask is drawn outside, since each run has draws of its own."""

    mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.mask is None:
            return x
        return x * self.mask


def _layers(net: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """The layers of a net that is a chain of linear ones, with nothing but functions between.

    None for another net.
    """
    if type(net) is not nn.Sequential:
        return None
    layers = [*net.named_children()]
    kinds = [type(layer) for _, layer in layers]
    if nn.Linear not in kinds or any(kind not in CHAINED for kind in kinds):
        return None
    before = kinds[: kinds.index(nn.Linear)]
    return layers if set(before) <= {nn.Flatten, nn.Identity} else None


def _with_stacked_layers(net: nn.Module, first: nn.Linear | None) -> nn.Module:
    if type(net) is nn.Linear:
        return _Linear(net, reads_images=net is first)
    if type(net) is nn.Dropout:
        return _MaskedDropout() if net.p else nn.Identity()
    for name, child in net.named_children():
        setattr(net, name, _with_stacked_layers(child, first))
    return net
