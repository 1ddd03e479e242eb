"""The fitting of a file's tensors to a net: what fits is taken, all else is named."""

from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xent_bench.config.configure import ConfigError
from xent_bench.pretrained.read import bare_name

KEY = "model.weights"
COUNTER = "num_batches_tracked"  # which files of PyTorch before version 0.4.1 lack
SHOWN = 4  # names in a message


class Fitted(NamedTuple):
    """The tensors to put into a net, and how they came to fit."""

    tensors: dict[str, Tensor]
    head: str  # why the head is not among them; empty if it is
    others: tuple[str, ...]  # remarks on the other tensors

    def line(self, of: int) -> str:
        """One line for a person; the net has `of` tensors."""
        parts = [f"{len(self.tensors)} of the net's {of} tensors", *self.others]
        return "; ".join([*parts, self.head] if self.head else parts)


def fitted(
    net: nn.Module, file: dict[str, Tensor], head: Collection[str], *, channels: int, strict: bool
) -> Fitted:
    """Find which tensors of a file go where in a net whose images have so many channels.

    `head` are the names of its modules. ConfigError that names the tensors, with both shapes where
    these differ; `strict=False` allows missing tensors and leaves out what the net has no place
    for.
    """
    wanted = net.state_dict()
    placed, left_over = _placed(wanted, file)
    of_head = {name for name in wanted if name.startswith(tuple(f"{part}." for part in head))}
    head_line = _head_line({n: placed[n] for n in of_head & placed.keys()}, wanted, of_head)
    if head_line:
        placed = {name: tensor for name, tensor in placed.items() if name not in of_head}
    first = _first_convolution(net, channels)
    remarks = []
    if first in placed and (adapted := _for_channels(placed[first], wanted[first])) is not None:
        had = placed[first].shape[1]
        remarks.append(f"{first} of {had} channels is adapted to {channels}")
        placed[first] = adapted
    for name, tensor in placed.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(wanted[name].shape)} for {name}, got {tuple(tensor.shape)}"
            raise ConfigError(KEY, f"the file is of another net: expected {shapes}")
        _refuse_no_weights(name, tensor, wanted[name])
    skipped = of_head if head_line else set()
    missing = [n for n in wanted if n not in placed | dict.fromkeys(skipped)]
    missing = [name for name in missing if not name.endswith(COUNTER)]
    remarks += _differences(missing, left_over, strict=strict and bool(placed))
    if not placed:
        raise ConfigError(KEY, f"no tensor of the file is the net's: {_some(left_over)}")
    return Fitted(placed, head_line, tuple(remarks))


def _refuse_no_weights(name: str, tensor: Tensor, wanted: Tensor) -> None:
    """Raise a ConfigError for whole numbers in place of weights, and for NaN and infinity."""
    if not wanted.is_floating_point():
        return
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise ConfigError(
            KEY,
            f"expected floats for {name}, got {kind}: quantised weights need their scales, which "
            "are not read",
        )
    if not bool(tensor.isfinite().all()):
        raise ConfigError(KEY, f"expected finite weights, got NaN or infinity in {name}")


def _placed(
    wanted: dict[str, Tensor], file: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[str]]:
    """The file's tensors by the net's names for them, and the names of those that are left over."""
    by_bare_name = {bare_name(name): name for name in wanted}
    ambiguous = {name for name, n in Counter(map(bare_name, wanted)).items() if n > 1}
    placed: dict[str, Tensor] = {}
    left_over = []
    for name, tensor in file.items():
        place = name if name in wanted else by_bare_name.get(bare_name(name))
        if place is None or place in placed or (place != name and bare_name(name) in ambiguous):
            left_over.append(name)
        else:
            placed[place] = tensor
    return placed, left_over


def bare(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A file's tensors without what others put before their names."""
    return {bare_name(name): tensor for name, tensor in tensors.items()}


def _head_line(given: dict[str, Tensor], wanted: dict[str, Tensor], of_head: Iterable[str]) -> str:
    """Say why a file's head cannot be the net's: it has another shape, or is not there."""
    names = sorted(of_head)
    if not names:
        return ""
    if not given:
        return f"the file has no head ({_some(names)}): it is drawn from the seed"
    other = [name for name in sorted(given) if given[name].shape != wanted[name].shape]
    if not other:
        return ""
    had, has = given[other[-1]].shape[:1], wanted[other[-1]].shape[:1]
    if had == has:  # as many classes, so that it is another net
        return ""
    return (
        f"the head ({_some(names)}) is left out, since the file's has {[*had, 1][0]} classes "
        f"and not {[*has, 1][0]}: it is drawn from the seed"
    )


def _first_convolution(net: nn.Module, channels: int) -> str:
    """The name of the weights of the first convolution, which sees the images; empty without."""
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            is_first = module.in_channels == channels and module.groups == 1
            return f"{name}.weight".removeprefix(".") if is_first else ""
    return ""


def _for_channels(filters: Tensor, wanted: Tensor) -> Tensor | None:
    """Filters (o, c, h, w) for another number of channels; None if only that does not differ.

    For 1 channel their sum over c; for n they are repeated in turn, and multiplied by c / n.
    """
    if filters.ndim != 4 or filters.shape[1] == wanted.shape[1]:
        return None
    if (filters.shape[0], *filters.shape[2:]) != (wanted.shape[0], *wanted.shape[2:]):
        return None
    c, n = filters.shape[1], wanted.shape[1]
    if n == 1:
        return filters.float().sum(dim=1, keepdim=True)
    return filters.float()[:, torch.arange(n) % c] * (c / n)


def _differences(missing: list[str], left_over: list[str], *, strict: bool) -> list[str]:
    """Remarks on tensors that only the net or only the file has; ConfigError if it is strict."""
    remarks = []
    if missing:
        remarks.append(f"the file lacks {len(missing)} tensors ({_some(missing)})")
    if left_over:
        remarks.append(f"the net has no place for {len(left_over)} ({_some(left_over)})")
    if remarks and strict:
        way_out = "model.strict=false takes the others, and draws what is missing"
        raise ConfigError(KEY, f"{' and '.join(remarks)}; {way_out}")
    return remarks


def _some(names: Collection[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (", ..." if len(listed) > SHOWN else "")
