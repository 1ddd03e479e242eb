"""A net as a .pt2 file: a graph by torch.export, which PyTorch runs without code of ours."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xent_bench.export.calibrated_net import CalibratedNet
from xent_bench.export.graph import quiet, reason, recorded
from xent_bench.failures import Unavailable, raise_fault

DESCRIPTION = "model.json"  # the name of an extra file within


def check_installed() -> None:
    """Do nothing: PyTorch is always installed."""


def write(net: CalibratedNet, description: dict[str, Any], file: Path) -> None:
    """Write the net as a .pt2 file. Unavailable for a net that no graph can hold."""
    program = recorded(net)
    with quiet():
        torch.export.save(program, file, extra_files={DESCRIPTION: json.dumps(description)})


def run(file: Path, inputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the probabilities (n, classes) of each batch of inputs, computed on a CPU.

    The file must be one that was just written: torch.export.load may run code of a file.
    """
    try:
        with quiet():
            net = torch.export.load(file).module()
        for batch in inputs:
            with torch.no_grad():
                yield net(torch.from_numpy(batch)).numpy()
    except Exception as error:  # torch raises many kinds of error for a graph that it cannot run
        raise_fault(error)
        raise Unavailable(f"torch.export cannot run {file.name}: {reason(error)}") from error


def runtime() -> str:
    """The name and the version of what runs the file."""
    return f"PyTorch {torch.__version__}"


def content() -> str:
    """The content of the file, in a few words."""
    return "a graph of torch.export"
