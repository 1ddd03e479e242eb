"""A net as a safetensors file: its weights as data, and the record that says how to use them.

    net = load("model.safetensors")
    probabilities = net(images)

No code is in the file: the net is built by the function that its record names, which has to be
installed, under the rules of `trained_net.load`.
"""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from xent_bench.export.calibrated_net import CalibratedNet, calibrated_net
from xent_bench.failures import DataError
from xent_bench.trained_net.net import assembled
from xent_bench.trained_net.record import parsed_record

NET, DESCRIPTION = "net.json", "model.json"  # keys of the file's metadata


def check_installed() -> None:
    """Do nothing: safetensors is always installed."""


def write(net: CalibratedNet, description: dict[str, Any], file: Path) -> None:
    """Write the weights of the net, with its record and the description as metadata."""
    # copied: tensors that share memory, such as tied weights, are refused
    weights = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in net.net.state_dict().items()
    }
    metadata = {
        "format": "pt",  # as other readers of safetensors expect for PyTorch
        NET: json.dumps(asdict(net.record)),
        DESCRIPTION: json.dumps(description),
    }
    file.write_bytes(_in_order(save(weights, metadata)))


def load(file: str | os.PathLike[str], *, device: str | None = None) -> CalibratedNet:
    """Load the calibrated net from a safetensors file that xent-export has written.

    If it was trained on image files, it takes whole images of any size.

    Device: the kind that the run was tested on, where there is one. A DataError of one line where
    the file is missing or damaged, or where its weights are not those that were tested.
    """
    path = Path(file)
    weights, text = _content(path)
    record = parsed_record(text, f"{path}, its {NET}")
    trained = assembled(record, path, lambda: (weights, path), device=device)
    return calibrated_net(trained, whole_images=True)


def run(file: Path, inputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the probabilities (n, classes) of each batch of inputs, computed on a CPU."""
    net = load(file, device="cpu")
    for batch in inputs:
        yield net(torch.from_numpy(batch)).numpy()


def runtime() -> str:
    """The name and the version of what runs the file."""
    return f"PyTorch {torch.__version__}"


def content() -> str:
    """The content of the file, in a few words."""
    return "weights, read by xent_bench"


def _in_order(content: bytes) -> bytes:
    """Sort the metadata of a file's content: safetensors writes them in an order of chance.

    A file begins with the length of its header, 8 bytes, and the header is JSON.
    """
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _content(path: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors by name, and the JSON of the record."""
    if not path.is_file():
        raise DataError(f"expected a file of safetensors, got {path}: no such file")
    try:
        with safe_open(path, framework="pt", device="cpu") as content:
            metadata = content.metadata() or {}
            weights = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors has an error of its own for damaged files
        raise DataError(f"cannot read {path}: {' '.join(str(error).split())[:300]}") from error
    if NET not in metadata:
        raise DataError(f"expected {NET} in the metadata of {path}, as xent-export writes it")
    return weights, metadata[NET]
