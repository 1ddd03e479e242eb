"""The graph of a calibrated net, as torch.export records it: tensor operations and weights."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO

import torch
from torch.export import Dim, ExportedProgram

from xent_bench.export.calibrated_net import CalibratedNet
from xent_bench.failures import Unavailable, is_of_compiler, raise_fault

FIXED_SIZE = (  # of a net
    "its code fixes the number of images or their size, as a Python loop over images does, or "
    "len() where x.shape[0] is meant"
)
MOST_REASON = 300  # characters of a library's reason
# of the images by which a graph of any size is recorded; no size is treated as a special case
EXAMPLE_SIDES = (3, 5)  # added to the net's own height and width


def recorded(net: CalibratedNet) -> ExportedProgram:
    """Record the net for any number of images, and for any size where it takes any.

    Unavailable, with torch's reason in one line, for a net that no graph can hold, such as one
    whose control flow depends on the pixels. The graph names no file of this machine.
    """
    example, sizes = net.example(), {0: Dim("n")}
    if net.takes_any_size:
        h, w = (side + more for side, more in zip(net.record.shape[1:], EXAMPLE_SIDES, strict=True))
        example = torch.zeros(2, net.record.shape[0], h, w, dtype=torch.uint8)
        sizes |= {2: Dim("height", min=2), 3: Dim("width", min=2)}
    # channels-last weights would be stored with strides, which readers of the file need not know
    net = net.to(memory_format=torch.contiguous_format)
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(net, (example,), dynamic_shapes=(sizes,))
    except Exception as error:  # whatever torch, or the code of a user's net, raises
        if not is_of_compiler(error):  # whose name would be machine.compile, which is not used here
            raise_fault(error)
        target = net.record.model.get("_target_")
        way = FIXED_SIZE if "Constraints violated" in str(error) else reason(error)
        raise Unavailable(f"torch.export cannot record the net {target}: {way}") from error
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # paths of the source code
    return program


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what torch's exporters print, warn of and log; their errors still come through."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(StringIO()),
            redirect_stderr(StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def reason(error: Exception) -> str:
    """The first line of a library's reason, without advice on how to debug the library."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return f"{type(error).__name__}: {first}"[:MOST_REASON]
