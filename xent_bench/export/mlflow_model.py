"""A trained net as an MLflow model: uint8 pixels in, calibrated probabilities out, and no pickle.

The net is an ONNX graph, which MLflow's own loader reads and onnxruntime runs, without PyTorch and
without this package. MLflow's other formats were tried: its archive of torch.export holds pickled
sample inputs and needs PyTorch where it is served, and a model from code runs the code in it.
"""

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xent_bench.export.calibrated_net import CalibratedNet, calibrated_net
from xent_bench.runs.files import MODEL
from xent_bench.runs.model_folder import EXAMPLES
from xent_bench.runs.whole_files import move_folder
from xent_bench.trained_net import load

REQUIREMENTS = ("onnx", "onnxruntime", "numpy")  # to use the model; MLflow adds itself
SMALL_SIDE = 32  # pixels: the example of a net that takes any size is small, as it is kept as JSON


def keep_model(run: Path) -> Path:
    """Write the model of a finished run to the run's own folder, if it is not there; return it."""
    folder = run / MODEL
    if not folder.exists():
        write_mlflow_model(run, folder)
    return folder


def write_mlflow_model(run: Path, folder: Path) -> None:
    """Write the net of a finished run as an MLflow model to a new folder, which appears whole.

    DataError where the run's net cannot be read, or cannot be exported.
    """
    trained = load(run, device="cpu")
    net = calibrated_net(trained)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # a killed process left it
    try:
        _save(net, _graph(net), part)
        move_folder(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _save(net: CalibratedNet, graph: Any, folder: Path) -> None:
    """Let MLflow write the model, with its signature and an example of its input."""
    from xent_bench.tracking import quiet_mlflow  # noqa: F401  before MLflow is imported

    with quiet():  # MLflow warns of its own annotations
        import mlflow.onnx  # takes seconds
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

    example = input_example(net)
    n_classes = len(net.record.classes)
    signature = ModelSignature(
        Schema([TensorSpec(example.dtype, _any_size(net))]),
        Schema([TensorSpec(np.dtype(np.float32), (-1, n_classes), "probabilities")]),
    )
    with quiet():
        mlflow.onnx.save_model(
            graph,
            str(folder),
            signature=signature,
            input_example=example,
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            onnx_execution_providers=["CPUExecutionProvider"],  # else MLflow warns without a GPU
            metadata=_metadata(net.record),
            save_as_external_data=False,
        )
    for name in EXAMPLES:  # MLflow spreads a number over a line of its own, 17 bytes for one pixel
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()), separators=(",", ":")))


def input_example(net: CalibratedNet) -> np.ndarray:
    """One input of the net: a grey ramp from 0 to 255, or a vector of equal numbers."""
    channels, h, w = net.record.shape
    if net.takes_vectors:
        return np.full((1, channels), channels**-0.5, np.float32)
    if net.takes_any_size:
        h, w = min(h, SMALL_SIDE), min(w, SMALL_SIDE)
    ramp = np.linspace(0, 255, w).round().astype(np.uint8)
    return np.broadcast_to(ramp, (1, channels, h, w)).copy()


def _any_size(net: CalibratedNet) -> tuple[int, ...]:
    """The shape of the input, with -1 where any number will do."""
    channels, h, w = net.record.shape
    if net.takes_vectors:
        return (-1, channels)
    return (-1, channels, -1, -1) if net.takes_any_size else (-1, channels, h, w)


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _graph(net: CalibratedNet) -> Any:
    dim = torch.export.Dim
    shapes = {0: dim("n")}
    if net.takes_any_size:
        shapes |= {2: dim("height"), 3: dim("width")}
    with quiet():
        program = torch.onnx.export(
            net,
            (net.example(),),
            dynamo=True,
            input_names=["images"],
            output_names=["probabilities"],
            dynamic_shapes=(shapes,),
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _metadata(record: Any) -> dict[str, Any]:
    return {
        "key": record.key,
        "weights_sha256": record.weights_sha256,
        "classes": list(record.classes),
        "temperature": record.temperature,
    }
