"""The blocks of any net, from the images to the head: what `last:N` and `layer_decay` count.

A block is an element of the net's Sequential, ModuleList or ModuleDict, such as a residual block, a
layer of a transformer, or a convolution with its normalisation. Stages, which hold elements of one
kind, are opened. A layer without a matrix, such as a normalisation or dropout, belongs to the block
before it. Blocks stand in the order in which the net registers them. What lies in no block, such as
the position embedding of a transformer, belongs to the first.
"""

from collections import Counter
from collections.abc import Collection, Iterator

from torch import nn

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def blocks_of(net: nn.Module, head: Collection[str]) -> list[list[str]]:
    """The names of the modules of each block; `head` are the names of the modules of the head."""
    blocks: list[list[str]] = []
    leading: list[str] = []  # layers without a matrix before the first block
    for name in _units("", net, head):
        if _matrices(net.get_submodule(name)):
            blocks.append([*leading, name])
            leading = []
        elif blocks:
            blocks[-1].append(name)
        else:
            leading.append(name)
    return blocks or ([leading] if leading else [])


def within(name: str, tops: Collection[str]) -> bool:
    """Whether a module or a parameter lies in one of these modules, or is one of them."""
    return any(name == top or name.startswith(f"{top}.") for top in tops)


def _units(name: str, module: nn.Module, head: Collection[str]) -> Iterator[str]:
    """The names of the modules that are not opened, without those of the head."""
    if within(name, head):
        return
    holds_head = any(within(part, [name]) for part in head) if name else True
    if not (holds_head or (_matrices(module) > 1 and _is_opened(module))):
        yield name
        return
    for child_name, child in module.named_children():
        yield from _units(f"{name}.{child_name}" if name else child_name, child, head)


def _is_opened(module: nn.Module) -> bool:
    """Whether it is a container, or a stage: a module that holds elements of one kind."""
    if isinstance(module, CONTAINERS):
        return True
    elements = Counter(
        type(element)
        for part in module.modules()
        if isinstance(part, CONTAINERS)
        for element in part.children()
        if [*element.children()] and not isinstance(element, CONTAINERS)
    )
    return any(number > 1 for number in elements.values())


def _matrices(module: nn.Module) -> int:
    """The number of parameters with two axes or more."""
    return sum(weight.ndim > 1 for weight in module.parameters())
