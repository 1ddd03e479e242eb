"""The building of a net, with weights drawn from the seed or read from a file."""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from xent_bench.config.configure import ConfigError
from xent_bench.config.first_weights import FirstWeights, refusing, sha256_of
from xent_bench.config.net_options import NetOptions
from xent_bench.failures import DataError
from xent_bench.offered_weights import library_of
from xent_bench.pretrained.fit import Fitted, bare, fitted
from xent_bench.pretrained.head import draw_head, head_of
from xent_bench.pretrained.images import remark_on_classes
from xent_bench.pretrained.read import StoredWeights, read_weights
from xent_bench.randomness import derived_seed

PURPOSE = "initial weights"


class Begun(NamedTuple):
    """A net before its first step, and what there is to say on the file that it begins with."""

    net: nn.Module
    line: str  # empty where its weights are drawn


def begin(
    model: "partial[Any]",
    shape: tuple[int, int, int],
    classes: int,
    seed: int,
    *,
    options: NetOptions,
    weights: FirstWeights | None,
    class_names: tuple[str, ...] = (),
) -> Begun:
    """Build a net and give it its first weights: from the seed alone, or from the file.

    A head that is not in the file is drawn by the first draws from the seed. ConfigError if the
    file does not fit the net, or if the model returns no net; DataError if the file has changed
    since it was hashed, or cannot be read.
    """
    torch.manual_seed(derived_seed(seed, PURPOSE))
    with refusing():
        net: Any = model(shape, classes)
    if not isinstance(net, nn.Module):
        got = type(net).__name__
        raise ConfigError("model._target_", f"expected it to return an nn.Module, got {got}")
    if weights is None:
        return Begun(net, "")
    stored = _stored(weights, options.entry)
    fit = _fit(net, model, shape[0], classes, weights.file, stored.tensors, strict=options.strict)
    if fit.head:
        draw_head(head_of(net, classes), derived_seed(seed, PURPOSE))
    with torch.no_grad():
        state = net.state_dict()
        for name, tensor in fit.tensors.items():
            state[name].copy_(tensor)
    name = f"{weights.name} of {weights.file.name}" if weights.name else str(weights.file)
    remark = "" if fit.head else remark_on_classes(weights, class_names)
    taken = f"{stored.line()}{fit.line(len(net.state_dict()))}"
    return Begun(net, f"{name}: {taken}{remark}")


def _stored(weights: FirstWeights, entry: str | None) -> StoredWeights:
    if sha256_of(weights.file) != weights.sha256:
        raise DataError(f"{weights.file} has changed while the run began; type the command again")
    return read_weights(weights.file, entry)


def _fit(
    net: nn.Module,
    model: "partial[Any]",
    channels: int,
    classes: int,
    file: Path,
    stored: dict[str, Tensor],
    *,
    strict: bool,
) -> Fitted:
    tensors = _translated(stored, net, model)
    try:
        return fitted(net, tensors, head_of(net, classes), channels=channels, strict=strict)
    except ConfigError as error:
        raise ConfigError(error.key, f"{file}: {error.complaint}") from error


def _translated(
    tensors: dict[str, Tensor], net: nn.Module, model: "partial[Any]"
) -> dict[str, Tensor]:
    """The tensors as the net's library names them today."""
    library = library_of(model.func)
    if library is None:
        return tensors
    inner = getattr(net, "net", net)
    try:
        return library.translated(bare(tensors), inner, model.keywords)
    except Exception as error:  # a library's code, given a file that is not its own
        reason = " ".join(str(error).split())[:200]
        raise ConfigError("model.weights", f"is no file of this net: {reason}") from error
