"""A computation that is recorded once as a CUDA graph, and launched as a whole from then on.

A step of small nets is some hundred kernels, and to launch one takes longer than to compute it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP = 3  # calls before the recording, in which libraries choose their ways and take memory


class Recorded:
    """A function of tensors that keep their place in memory; only their values change."""

    def __init__(self, function: Callable[[], list[Tensor]], inputs: Sequence[Tensor]) -> None:
        """Record a function that reads `inputs` and returns new tensors.

        A RuntimeError of CUDA says what cannot be recorded. On a CPU nothing is recorded: each call
        calls the function.
        """
        self.function, self.inputs = function, inputs
        self.graph: torch.cuda.CUDAGraph | None = None
        self.outputs: list[Tensor] = []
        if inputs[0].is_cuda:
            self._record()

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the function's value for these inputs; the next call overwrites it."""
        for kept, new in zip(self.inputs, inputs, strict=True):
            kept.copy_(new)
        if self.graph is None:
            self.outputs = self.function()
        else:
            self.graph.replay()
        return self.outputs

    def _record(self) -> None:
        # as PyTorch's notes on CUDA say: warmed up on another stream than the usual one
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UP):
                self.function()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.outputs = self.function()
        self.graph = graph
