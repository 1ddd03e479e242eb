"""Forty runs as one training on a GPU: the rows of `together.py`, without and with a CUDA graph.

The short form runs on a CPU where there is no GPU.
"""

import together
import torch

GRAPHS = {"": "false", ", as a CUDA graph": "true"}


def measured(rounds: int, *, short: bool) -> list[list[str]]:
    """Rows: what is trained, ms a step of a run, and the throughput against other ways."""
    accelerator = "gpu" if torch.cuda.is_available() or not short else "cpu"
    rows = []
    for name, graph in GRAPHS.items():
        on = (f"machine.accelerator={accelerator}", f"machine.cuda_graph={graph}")
        rows += [
            [f"{what}{name}", *figures]
            for what, *figures in together.measured(rounds, short=short, on=on)
        ]
    return rows
