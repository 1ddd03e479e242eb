"""The head of any net: the layers that give one output for each class."""

from typing import Any

import torch
from torch import nn

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


def head_of(net: nn.Module, classes: int) -> dict[str, nn.Module]:
    """The modules of a net's head by their names; empty where it has none that can be told.

    A net that has `get_classifier`, as those of timm have, says itself. Else it is the last layer,
    in the order in which the net registers them, that is linear or a convolution and has an output
    for each class.
    """
    modules = dict(net.named_modules())
    declared = [module for part in net.modules() for module in _declared(part)]
    if declared:
        return {name: module for name, module in modules.items() if module in declared}
    last = [
        name
        for name, module in modules.items()
        if isinstance(module, LAYERS) and len(module.weight) == classes
    ][-1:]
    return {name: modules[name] for name in last}


def draw_head(head: dict[str, nn.Module], seed: int) -> None:
    """Draw the weights of a head anew, by the first draws after `seed`.

    A linear head begins as the same layer does that is a net by itself (model=linear).
    """
    torch.manual_seed(seed)
    for module in (part for layer in head.values() for part in layer.modules()):
        reset: Any = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()


def _declared(net: nn.Module) -> list[nn.Module]:
    """The classifiers that a net says that it has, if they hold weights."""
    get: Any = getattr(net, "get_classifier", None)
    if not callable(get):
        return []
    answer = get()
    layers = answer if isinstance(answer, list | tuple | nn.ModuleList) else [answer]
    return [layer for layer in layers if isinstance(layer, nn.Module) and [*layer.parameters()]]
