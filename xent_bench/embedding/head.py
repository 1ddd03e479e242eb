"""The head of a net: the linear layer whose outputs are those of the net. Its input is features."""

from typing import Any

import torch
from torch import Tensor, nn

from xent_bench.config.configure import ConfigError
from xent_bench.failures import raise_fault
from xent_bench.training.user_code import at_line
from xent_bench.types import Pixels


class Headless:
    """A net in evaluation mode that returns the input of its head."""

    def __init__(self, net: nn.Module, pixels: Pixels, way_out: str = "") -> None:
        """Find the head by a pass over a few images.

        ConfigError if the net has none or cannot take the images; `way_out` is added to the latter.
        """
        self.net = net.eval()
        self.head = find_head(net, pixels, way_out)
        self.width = self.head.in_features
        self.inputs: list[Tensor] = []
        self.head.register_forward_pre_hook(self._keep)

    def __call__(self, pixels: Pixels, *, bf16: bool = False) -> Tensor:
        """Features (n, d) of normalised images, in float32."""
        with torch.no_grad(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16):
            self.net(pixels)
        features, self.inputs = self.inputs[-1], []
        return features.float()

    def _keep(self, _: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.inputs.append(inputs[0].detach())


def find_head(net: nn.Module, pixels: Pixels, way_out: str = "") -> nn.Linear:
    """The last linear layer that takes rows (n, d) and whose outputs leave the net unchanged.

    ConfigError as `Headless` says.
    """
    outputs: list[tuple[nn.Linear, Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Linear)
        if inputs[0].ndim == 2:
            outputs.append((module, output))

    layers = [module for module in net.modules() if isinstance(module, nn.Linear)]
    hooks = [layer.register_forward_hook(keep) for layer in layers]
    try:
        with torch.no_grad():
            final = net(pixels)
    except (AssertionError, RuntimeError, ValueError) as error:  # the images are too small
        raise_fault(error)
        shape = tuple(pixels.shape)
        line = f"cannot take a batch of shape {shape}: {error}{way_out}{at_line(error)}"
        raise ConfigError("model", line) from error
    finally:
        for hook in hooks:
            hook.remove()
    for layer, output in reversed(outputs):
        if output.shape == final.shape and torch.equal(output, final):
            return layer
    raise ConfigError(
        "model",
        "expected a net that ends with a linear layer, whose input are the features; this one ends "
        "otherwise",
    )
