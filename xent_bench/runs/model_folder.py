"""The folder of an MLflow model that a run keeps: read as data, and checked before it is sent on.

A run's folder may come from somebody else, and an MLflow model may name code that runs where it is
loaded, or packages that are installed for it. One that `xent-export` writes names neither: an ONNX
graph, and the packages that run it.
"""

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from xent_bench.failures import DataError
from xent_bench.printable import all_printable
from xent_bench.runs.reading import read_text

DESCRIPTION, GRAPH, CARD = "MLmodel", "model.onnx", "README.md"
FOR_PROGRAMS, PICTURE = "model.json", "reliability.png"  # what a card says, and shows
REQUIREMENTS, CONDA, PYTHON = "requirements.txt", "conda.yaml", "python_env.yaml"
EXAMPLES = ("input_example.json", "serving_input_example.json")
NEEDED = (DESCRIPTION, GRAPH, REQUIREMENTS)
FILES = {*NEEDED, CARD, FOR_PROGRAMS, PICTURE, CONDA, PYTHON, *EXAMPLES}
PACKAGES = ("mlflow", "numpy", "onnx", "onnxruntime", "pip", "setuptools", "wheel")
PINNED = re.compile(rf"({'|'.join(PACKAGES)})((==|<=)[\w.+!]+)?")
PYTHON_PINNED = re.compile(r"python=[\d.]+")
LOADER = "mlflow.onnx"  # reads a graph, and runs nothing else


class ModelFolder(NamedTuple):
    """An MLflow model in a folder: its files, and the metadata that its description holds."""

    files: list[Path]
    metadata: dict[str, Any]


def read_model_folder(folder: Path) -> ModelFolder:
    """List the files of an MLflow model and read its metadata. DataError unless it is one of ours.

    Nothing in it is imported, executed or resolved, and no link is followed.
    """
    try:
        files = sorted(folder.iterdir())
        _check_files(files)
        description = _yaml(folder / DESCRIPTION)
        _check_flavors(description.get("flavors"))
        _check_packages(folder)
        metadata = description.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise ValueError(f"expected names and values as metadata, got {metadata!r}"[:200])
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(
            f"cannot use {folder}: {reason}; delete it, and xent-export or machine.log_model=true "
            "writes it anew"
        ) from error
    return ModelFolder(files, all_printable(metadata))


def _check_files(files: list[Path]) -> None:
    names = {file.name for file in files}
    if missing := [name for name in NEEDED if name not in names]:
        raise ValueError(f"expected {', '.join(missing)} in it")
    for file in files:
        if file.name not in FILES:
            raise ValueError(f"expected the files of an exported net, got {file.name} beside them")
        if file.is_symlink() or not file.is_file():
            raise ValueError(f"{file.name}: expected a file, got a link, a folder or a device")


def _check_flavors(flavors: Any) -> None:
    """ValueError unless MLflow would load the model by its own loader of ONNX, without any code."""
    graph, function = (
        (flavors.get(name) if isinstance(flavors, dict) else None)
        for name in ("onnx", "python_function")
    )
    if not (isinstance(graph, dict) and isinstance(function, dict) and len(flavors) == 2):
        raise ValueError("expected the flavors onnx and python_function alone")
    if function.get("loader_module") != LOADER or graph.get("code") or function.get("code"):
        raise ValueError(f"expected {LOADER} to load it, and no code")
    if {graph.get("data"), function.get("data")} != {GRAPH}:
        raise ValueError(f"expected its graph in {GRAPH}")


def _check_packages(folder: Path) -> None:
    """ValueError for a package that an exported net does not need: MLflow may install it."""
    packages = read_text(folder / REQUIREMENTS).split()
    for name in (CONDA, PYTHON):
        if (folder / name).exists():
            packages += _dependencies(_yaml(folder / name))
    for package in packages:
        if not (PINNED.fullmatch(package) or PYTHON_PINNED.fullmatch(package)):
            raise ValueError(f"expected packages among {', '.join(PACKAGES)}, got {package[:100]}")


def _dependencies(environment: dict[str, Any]) -> list[str]:
    """The packages of a conda.yaml or a python_env.yaml, without its reference to the other file.

    ValueError for a channel or an index other than the usual one.
    """
    if environment.get("channels", ["conda-forge"]) != ["conda-forge"]:
        raise ValueError(f"expected packages of conda-forge, got {environment['channels']}"[:200])
    packages: list[str] = []
    for entry in (
        *environment.get("dependencies", ()),
        *environment.get("build_dependencies", ()),
    ):
        packages += map(str, entry.get("pip", ())) if isinstance(entry, dict) else [str(entry)]
    return [package for package in packages if package != f"-r {REQUIREMENTS}"]


def _yaml(file: Path) -> dict[str, Any]:
    text = read_text(file)
    if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
        raise ValueError(f"{file.name}: expected no aliases, which can stand for any amount")
    content = yaml.safe_load(text)
    if not isinstance(content, dict):
        raise ValueError(f"{file.name}: expected names and values, got {content!r}"[:200])
    return content
