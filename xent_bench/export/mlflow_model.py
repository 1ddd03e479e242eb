"""A trained net as an MLflow model: uint8 pixels in, calibrated probabilities out, and no pickle.

The net is an ONNX graph, which MLflow's own loader reads and onnxruntime runs, without PyTorch and
without this package. MLflow's other formats were tried: its archive of torch.export holds pickled
sample inputs and needs PyTorch where it is served, and a model from code runs the code in it.
"""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from xent_bench.export.description import shape_text
from xent_bench.export.export import CARD, Exported, Wanted, export
from xent_bench.export.graph import quiet
from xent_bench.export.staging import staged
from xent_bench.failures import Unavailable
from xent_bench.runs.files import MODEL
from xent_bench.runs.model_folder import EXAMPLES, GRAPH

REQUIREMENTS = ("numpy", "onnx", "onnxruntime")  # to use the model; MLflow adds itself
SMALL_SIDE = 32  # pixels: the example of a net that takes any size is small, as it is kept as JSON
USE = """
## In MLflow

```bash
mlflow models predict -m FOLDER -i images.json -t json --env-manager local
mlflow models serve -m FOLDER --env-manager local
```

`FOLDER` is the folder of this file, or an address such as `models:/NAME/1`. `images.json` holds
`{{"inputs": [...]}}` with {content}, as nested lists of the shape {shape}.
"""


def keep_model(run: Path) -> Path:
    """Write the model of a finished run to the run's own folder, if it is not there; return it.

    It is compared with the net in PyTorch alone: to read all images of test again would take long.
    Unavailable where the net cannot be exported, which is known only when it is tried.
    """
    folder = run / MODEL
    if not folder.exists():
        try:
            write_mlflow_model(run, Wanted("onnx", folder, at_end=True))
        except Unavailable as error:
            raise Unavailable(
                f"{run.name} is trained and its result is kept, but it has no model for "
                f"machine.log_model: {error}"
            ) from error
    return folder


def renew_model(run: Path, wanted: Wanted) -> Exported:
    """Write the model of a finished run to the run's own folder, checked and described as asked.

    It takes the place of one that is there. `wanted.folder` is not used.
    """
    new, old = (run / f".{MODEL}.{state}" for state in ("new", "old"))
    for left in (new, old):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    exported = write_mlflow_model(run, wanted._replace(folder=new))
    folder = run / MODEL
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return exported._replace(file=folder / GRAPH)


def write_mlflow_model(run: Path, wanted: Wanted) -> Exported:
    """Write the net of a finished run as an MLflow model to a new folder, which appears whole.

    Errors are those of `export`.
    """
    with staged(wanted.folder) as stage:
        exported = export(run, wanted._replace(form="onnx", folder=stage / "onnx"))
        _save(exported, stage / "mlflow")
        for part in ("mlflow", "onnx"):  # the second has the very graph that was checked
            for file in (stage / part).iterdir():
                file.replace(stage / file.name)
            (stage / part).rmdir()
        _explain(stage / CARD, exported.description["input"])
    return exported._replace(file=wanted.folder / GRAPH)


def _save(exported: Exported, folder: Path) -> None:
    """Let MLflow write the model, with its signature and an example of its input."""
    from xent_bench.tracking import quiet_mlflow  # noqa: F401  before MLflow is imported

    with quiet():  # MLflow warns of its own annotations
        import mlflow.onnx  # takes seconds
        import onnx
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

    input_form, output_form = exported.description["input"], exported.description["output"]
    signature = ModelSignature(
        Schema([TensorSpec(*_type(input_form))]),
        Schema([TensorSpec(*_type(output_form), output_form["name"])]),
    )
    with quiet():
        mlflow.onnx.save_model(
            onnx.load(exported.file),
            str(folder),
            signature=signature,
            input_example=input_example(input_form),
            pip_requirements=[f"{name}=={version(name)}" for name in REQUIREMENTS],
            onnx_execution_providers=["CPUExecutionProvider"],  # else MLflow warns without a GPU
            metadata=exported.description,
            save_as_external_data=False,
        )
    for name in EXAMPLES:  # MLflow spreads a number over a line of its own, 17 bytes for one pixel
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()), separators=(",", ":")))


def input_example(input_form: dict[str, Any]) -> np.ndarray:
    """One input of the form that a description says: a ramp from 0 to 255, or a vector of ones."""
    shape = tuple(side if isinstance(side, int) else SMALL_SIDE for side in input_form["shape"][1:])
    if input_form["dtype"] != "uint8":
        return np.ones((1, *shape), np.float32)
    ramp = np.linspace(0, 255, shape[-1]).round().astype(np.uint8)
    return np.broadcast_to(ramp, (1, *shape)).copy()


def _type(form: dict[str, Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The type and the shape of an input or output; -1 for a side that may have any length."""
    shape = tuple(side if isinstance(side, int) else -1 for side in form["shape"])
    return np.dtype(form["dtype"]), shape


def _explain(card: Path, input_form: dict[str, Any]) -> None:
    """Add to the card how MLflow uses the model."""
    shape = shape_text(input_form["shape"])
    card.write_text(card.read_text() + USE.format(content=input_form["content"], shape=shape))
