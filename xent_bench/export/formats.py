"""The forms in which a net can be exported; each is a module with the same few functions."""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from xent_bench.export.calibrated_net import CalibratedNet

# the choices of --to that are written by modules of this folder
FORMATS = ("onnx", "pt2", "safetensors")


class Format(NamedTuple):
    """A form of exported nets: how it is written, and how it is run to be checked."""

    name: str
    check_installed: Callable[[], None]  # raises Unavailable where an extra is missing
    write: "Callable[[CalibratedNet, dict[str, Any], Path], None]"
    run: "Callable[[Path, Iterable[np.ndarray]], Iterator[np.ndarray]]"
    runtime: Callable[[], str]  # name and version of what runs the file
    content: Callable[[], str]  # what the file holds, in a few words

    @property
    def file(self) -> str:
        """The name of the file."""
        return f"model.{self.name}"


def format_of(name: str) -> Format:
    """The form of this name, one of FORMATS. Its libraries are imported when it is used."""
    module = import_module(f"xent_bench.export.{name}_file")
    return Format(name, *(getattr(module, part) for part in Format._fields[1:]))
