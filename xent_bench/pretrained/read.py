"""A file of a net's weights as tensors by name, whoever wrote it: data alone is read, never code.

A state dict as `torch.save` or safetensors write it, by itself or within a training's checkpoint.
"""

import argparse
import pickletools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import is_zipfile

import torch
from torch import Tensor

from xent_bench.failures import DataError, named
from xent_bench.trained_net.weights import check_entries

# Names under which checkpoints keep a state dict, the first that is there is taken: averaged
# weights before the others, as timm takes them, since they are those that a training is scored by.
NESTED = (
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model",
    "model_state_dict",
    "net",
    "weights",
)
WAY_OUT = "expected the tensors of a net, as torch.save(net.state_dict(), FILE) writes them"
PICKLES = 5  # that a file of PyTorch before version 1.6 begins with
TINY = 2**20  # sizes below this are no danger, whatever the file's size
# what trainings, compilers and nets around a net put before the names of its tensors
PREFIXES = ("module.", "net.", "model.", "backbone.", "_orig_mod.")
COUNTER = "n_averaged"  # of PyTorch's AveragedModel, beside the averaged weights


class StoredWeights(NamedTuple):
    """Tensors of a file by their names, the entry that holds them, and other entries like it."""

    tensors: dict[str, Tensor]
    entry: str | None  # None: the file holds nothing but the tensors
    others: tuple[str, ...]  # entries with tensors of the same names

    def line(self) -> str:
        """The entry that was taken, and the others that the file has; empty where it has none."""
        if not self.others:
            return ""
        others = f"not {' or '.join(self.others)} (model.entry={self.others[0]} takes it)"
        return f"{self.entry} of the file and {others}: "


def read_weights(file: Path, entry: str | None = None) -> StoredWeights:
    """Read the tensors of a .pt, .pth or .safetensors file to the CPU, by their names.

    Of a checkpoint that holds several sets of weights `entry` is taken, or, if it is None, the
    averaged ones before the others. DataError if the file cannot be read, lacks the entry, or holds
    anything but tensors and plain values.
    """
    try:
        content: Any = _load(file)
        entries = _entries(content)
        chosen = entry or next((key for key in NESTED if key in entries), None)
        if chosen is None or chosen in entries:
            tensors = _tensors(content if chosen is None else entries[chosen])
    except Exception as error:  # a damaged or foreign pickle can raise anything
        if named(error) is not error or isinstance(error, OSError):  # memory is short, or the disk
            raise
        reason = _other_kind(file) or str(error).partition("\n")[0][:200] or type(error).__name__
        raise DataError(f"cannot read {file}: {reason}; {WAY_OUT}") from error
    if chosen is not None and chosen not in entries:
        held = ", ".join(entries) or "no weights under a name"
        raise DataError(f"model.entry={chosen}: expected an entry of {file}, which has {held}")
    names = {*map(bare_name, tensors)}
    others = (key for key, held in entries.items() if key != chosen)
    return StoredWeights(
        tensors, chosen, tuple(key for key in others if names & {*map(bare_name, entries[key])})
    )


def bare_name(name: str) -> str:
    """The name of a tensor without what others put before it."""
    while prefix := next((prefix for prefix in PREFIXES if name.startswith(prefix)), ""):
        name = name.removeprefix(prefix)
    return name


def _other_kind(file: Path) -> str:
    """Name the kind of a file that stands in place of weights; empty where it is not known."""
    with file.open("rb") as content:
        first = content.read(200).lstrip()
    if first.startswith(b"version https://git-lfs"):
        return "it is a pointer of git-lfs and not the file itself, which git lfs pull fetches"
    if first[:1] == b"<":
        return "it is a page of HTML or XML, as a failed download leaves"
    return ""


def _load(file: Path) -> Any:
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(file)
    if is_zipfile(file):
        check_entries(file)
    else:
        _check_sizes(file)
    # argparse.Namespace, in which many trainings keep their options, holds values and runs nothing
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(file, "cpu", weights_only=True)


def _check_sizes(file: Path) -> None:
    """ValueError if a file of an early PyTorch asks for more memory than it has bytes.

    It begins with pickles, which say how many numbers follow; PyTorch would make room for them
    before it looks. Nothing is unpickled here: the numbers in the pickles are listed.
    """
    largest = max(file.stat().st_size, TINY)
    with file.open("rb") as content:
        for _ in range(PICKLES):
            for _, argument, _ in pickletools.genops(content):
                # the first number of such a file, its mark, has 80 bits
                if isinstance(argument, int) and largest < argument < 2**64:
                    raise ValueError(f"it asks for {argument:,} numbers, more than it can hold")


def _entries(content: Any) -> dict[str, Mapping[Any, Any]]:
    """The parts of a checkpoint that hold tensors by name, by their own names."""
    if not isinstance(content, Mapping):
        return {}
    return {
        str(key): part
        for key, part in content.items()
        if isinstance(part, Mapping) and any(isinstance(value, Tensor) for value in part.values())
    }


def _tensors(content: Any) -> dict[str, Tensor]:
    """The content as dense tensors by name. ValueError if there is none, or another kind."""
    tensors = (
        {
            str(key): value
            for key, value in content.items()
            if isinstance(value, Tensor) and key != COUNTER
        }
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        kind = type(content).__name__
        keys = (
            f" of {', '.join(map(str, list(content)[:3]))}" if isinstance(content, Mapping) else ""
        )
        raise ValueError(f"it holds no tensors by name but a {kind}{keys}")
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex():
            raise ValueError(f"{name} is no dense tensor of real numbers")
    return tensors
