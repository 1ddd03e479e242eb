"""A net as an ONNX file, written by torch's exporter and run by ONNX Runtime, without PyTorch."""

import json
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from torch.onnx import export

from xent_bench.export.calibrated_net import CalibratedNet
from xent_bench.export.graph import quiet, reason, recorded
from xent_bench.failures import Unavailable, raise_fault

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
OPSET = 18  # the first whose Resize smooths reduced images; any ONNX Runtime since 1.14 has it
INPUT, OUTPUT = "images", "probabilities"
LARGEST = 2**31 - 2**24  # bytes of weights: a file holds 2 GiB, its graph among them


def check_installed() -> None:
    """Raise Unavailable unless the extra `onnx` is installed."""
    missing = [package for package in PACKAGES if find_spec(package) is None]
    if missing:
        raise Unavailable(f"--to onnx needs {', '.join(missing)}: pip install 'xent-bench[onnx]'")


def write(net: CalibratedNet, description: dict[str, Any], file: Path) -> None:
    """Write the net as an ONNX file; equal nets and descriptions give the same bytes.

    Unavailable for a net that ONNX cannot hold, or whose weights are too large for one file.
    """
    import onnx

    weights = sum(tensor.nbytes for tensor in net.state_dict().values())
    if weights > LARGEST:
        raise Unavailable(
            f"an ONNX file holds at most 2 GiB, and the weights have {weights / 2**30:.1f} GiB: "
            "expected --to pt2 or --to safetensors"
        )
    program = recorded(net)
    try:
        with quiet():
            exported = export(
                program,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
            assert exported is not None
            model = exported.model_proto
            _strip(model.graph)
            del model.metadata_props[:]
            onnx.helper.set_model_props(model, _texts(description))
            onnx.checker.check_model(model)
    except Exception as error:  # whatever the exporter raises for an operation that ONNX lacks
        raise_fault(error)
        raise Unavailable(
            f"torch's exporter cannot write the net {net.record.model.get('_target_')} as ONNX: "
            f"{reason(error)}"
        ) from error
    file.write_bytes(model.SerializeToString(deterministic=True))


def run(file: Path, inputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the probabilities (n, classes) of each batch of images or vectors, computed on a CPU.

    Unavailable, with ONNX Runtime's reason, for a file that it cannot run.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    try:
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        for batch in inputs:
            (probabilities,) = session.run([OUTPUT], {INPUT: batch})
            yield probabilities
    except Exception as error:  # ONNX Runtime has errors of its own, which are no OSError
        raise_fault(error)
        raise Unavailable(f"ONNX Runtime cannot run {file.name}: {reason(error)}") from error


def runtime() -> str:
    """The name and the version of what runs the file."""
    import onnxruntime

    return f"ONNX Runtime {onnxruntime.__version__}"


def content() -> str:
    """The content of the file, in a few words."""
    return f"ONNX, opset {OPSET}"


def _texts(description: dict[str, Any]) -> dict[str, str]:
    """The description as ONNX keeps it: texts by name, what is no text as JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in description.items()
    }


def _strip(graph: Any) -> None:
    """Remove where each node came from, and name the sizes that may vary.

    Torch notes the lines of its own source, and calls sizes s34 or the like.
    """
    sizes = {0: "n", 2: "height", 3: "width"}
    names = {}
    for axis, dimension in enumerate(graph.input[0].type.tensor_type.shape.dim):
        if dimension.dim_param:
            names[dimension.dim_param] = sizes[axis]
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
        for dimension in value.type.tensor_type.shape.dim:
            if dimension.dim_param:
                dimension.dim_param = names.get(dimension.dim_param, dimension.dim_param)
    del graph.value_info[:]
    _strip_nodes(graph)


def _strip_nodes(graph: Any) -> None:
    for node in graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
        for attribute in node.attribute:  # the branches of control flow are graphs too
            for inner in (attribute.g, *attribute.graphs):
                _strip_nodes(inner)
