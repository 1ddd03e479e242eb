"""A file of a net's weights as tensors by name, whoever wrote it: data alone is read, never code.

A state dict as `torch.save` or safetensors write it, by itself or within a training's checkpoint.
"""

import argparse
import pickletools
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from torch import Tensor

from xent_bench.failures import DataError, named
from xent_bench.trained_net.weights import check_entries

# Names under which checkpoints keep a state dict, the first that is there is taken.
NESTED = (
    "state_dict",
    "model",
    "model_state_dict",
    "net",
    "weights",
    "state_dict_ema",
    "model_ema",
)
WAY_OUT = "expected the tensors of a net, as torch.save(net.state_dict(), FILE) writes them"
PICKLES = 5  # that a file of PyTorch before version 1.6 begins with
TINY = 2**20  # sizes below this are no danger, whatever the file's size


def read_weights(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a .pt, .pth or .safetensors file to the CPU, by their names.

    DataError if it cannot be read, or holds anything but tensors and plain values.
    """
    try:
        content: Any = _load(file)
        if isinstance(content, Mapping):
            content = next((content[key] for key in NESTED if _is_nested(content, key)), content)
        tensors = _tensors(content)
    except Exception as error:  # a damaged or foreign pickle can raise anything
        if named(error) is not error or isinstance(error, OSError):  # memory is short, or the disk
            raise
        reason = _other_kind(file) or str(error).partition("\n")[0][:200] or type(error).__name__
        raise DataError(f"cannot read {file}: {reason}; {WAY_OUT}") from error
    return tensors


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


def _is_nested(content: Mapping[str, Any], key: str) -> bool:
    return isinstance(content.get(key), Mapping) and bool(content[key])


def _tensors(content: Any) -> dict[str, Tensor]:
    """The content as dense tensors by name. ValueError if there is none, or another kind."""
    tensors = (
        {str(key): value for key, value in content.items() if isinstance(value, Tensor)}
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
