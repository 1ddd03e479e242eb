"""Weights that a library offers for its nets, as the harness asks for them.

A model's function declares its library by the decorator `offers`. The harness then knows no library
by its name, and a library's file is read, checked and hashed as a user's own is.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
DEFAULT = "default"  # the name of the weights that a library recommends
OTHERWISE = "model.weights=FILE begins with a file, without model.weights a net begins at random"


class Refused(ValueError):
    """A value of a model that its library cannot use; `key` is without "model." before it."""

    def __init__(self, key: str, complaint: str) -> None:
        """Keep the key and what is wrong with its value."""
        super().__init__(f"model.{key}: {complaint}")
        self.key, self.complaint = key, complaint


class ImagesWanted(NamedTuple):
    """The images that a net's weights were trained on; None where that is not known."""

    size: int | None = None  # pixels: height and width of what the net sees
    shorter_side: int | None = None  # pixels, of an image of which the central square is cut
    interpolation: str | None = None
    mean: tuple[float, ...] | None = None  # of each channel, in units of 0 to 1
    std: tuple[float, ...] | None = None
    remark: str = ""  # how image files are prepared otherwise than for these weights


class OfferedFile(NamedTuple):
    """A library's file of weights: its place in the library's own cache, and where it comes from.

    The SHA-256 of its content begins with `sha256`, if the library tells; else that is empty.
    """

    file: Path
    sha256: str
    source: str  # an address, for messages
    download: Callable[[], Path]  # DataError if that fails


class Library(Protocol):
    """A library's nets and weights. `values` are the hyper-parameters of the model's function."""

    def check(self, values: Mapping[str, Any]) -> None:
        """Refused for a net that the library does not have, or if it is not installed."""

    def names(self, values: Mapping[str, Any]) -> list[str]:
        """The names of the weights for a net, the recommended first."""

    def file(self, name: str, values: Mapping[str, Any]) -> OfferedFile:
        """The file of the weights of that name. Refused if they come in no readable form."""

    def images(self, name: str, values: Mapping[str, Any]) -> ImagesWanted:
        """The images that the weights of that name want."""

    def translated(
        self, state: dict[str, Any], net: Any, values: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A file's tensors under the names, and in the shapes, that the library's net has today."""


def offers(library: Library) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare the library behind a model's function, as a decorator."""

    def declare(function: Callable[P, R]) -> Callable[P, R]:
        function.library = library  # type: ignore[attr-defined]  # the declaration
        return function

    return declare


def library_of(function: Callable[..., Any]) -> Library | None:
    """The library that a model's function has declared, or None."""
    library: Library | None = getattr(function, "library", None)
    return library
