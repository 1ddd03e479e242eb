"""The layers of a net that are trained (`model.trainable`), and those that stay as they are."""

from collections.abc import Collection
from typing import NamedTuple

from torch import nn

from xent_bench.config.configure import ConfigError
from xent_bench.net_parts import NetParts
from xent_bench.pretrained.head import head_of
from xent_bench.training.blocks import blocks_of, within

KEY = "model.trainable"


class Trained(NamedTuple):
    """The parts of a net, and the modules that stay in evaluation mode while it is trained."""

    parts: NetParts
    at_rest: frozenset[str]  # names of modules


def trained(net: nn.Module, classes: int, trainable: str) -> Trained:
    """Find what is to be trained. ConfigError for a net without a head, or with too few blocks.

    A module rests unless it lies in the head, or in a block that is trained, or is a normalisation
    that is trained. Batch normalisation at rest uses its stored statistics and keeps them; dropout
    at rest drops nothing: features that do not change are the same at every step. With `norm`,
    batch normalisation normalises by the batch and updates its statistics, as it does with `all`.
    """
    head = head_of(net, classes)
    blocks = blocks_of(net, head)
    names = [name for name, _ in net.named_parameters()]
    parts = _parts(names, head, blocks)
    if trainable == "all":
        return Trained(parts, frozenset())
    if not head:
        raise ConfigError(
            KEY,
            f"expected a linear or a convolution layer of {classes} outputs as the head, or a "
            "method get_classifier that returns it, got a net without; all trains it whole",
        )
    tops = [*head]
    if trainable == "norm":
        tops += [name for name, module in net.named_modules() if is_norm(module)]
    elif trainable != "head":
        last = int(trainable.partition(":")[2])
        if last > len(blocks):
            raise ConfigError(
                KEY, f"expected at most {len(blocks)}, the blocks of the net, got last:{last}"
            )
        tops += [name for block in blocks[-last:] for name in block]
        if last == len(blocks):
            tops += [name for name in names if name in parts.blocks[0]]
    frozen = frozenset(name for name in names if not within(name, tops))
    rests = frozenset(name for name, _ in net.named_modules() if not within(name, tops))
    return Trained(parts._replace(frozen=frozen), rests)


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises: by its class's name, with weights of at most one axis."""
    weights = [*module.parameters()]
    is_named = any("Norm" in kind.__name__ for kind in type(module).__mro__)
    return is_named and bool(weights) and all(weight.ndim <= 1 for weight in weights)


def freeze(net: nn.Module, names: Collection[str]) -> None:
    """Let these parameters need no gradient."""
    for name, weight in net.named_parameters():
        if name in names:
            weight.requires_grad_(False)


def _parts(names: list[str], head: Collection[str], blocks: list[list[str]]) -> NetParts:
    of_head = frozenset(name for name in names if within(name, head))
    of_blocks = [{name for name in names if within(name, block)} for block in blocks]
    left = set(names).difference(of_head, *of_blocks)
    if left:
        of_blocks = [of_blocks[0] | left, *of_blocks[1:]] if of_blocks else [left]
    return NetParts(of_head, tuple(frozenset(block) for block in of_blocks))
