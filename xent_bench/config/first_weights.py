"""The file of the weights that a net begins with: found by what was typed, and its hash."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hydra.utils import get_method
from omegaconf import DictConfig

from xent_bench.config.configure import ConfigError, function_values, net_options
from xent_bench.config.nearest import nearest
from xent_bench.failures import DataError
from xent_bench.offered_weights import DEFAULT, Library, Refused, library_of

KEY = "model.weights"
ENDINGS = (".pt", ".pth", ".safetensors", ".bin", ".ckpt", ".tar")
OF_A_RUN = "; that of a run has its weights in weights.pt, with machine.save_weights=true"


class FirstWeights(NamedTuple):
    """A file of weights, the SHA-256 of its content, and the library's name for it if it has one.

    `typed` is the value of model.weights.
    """

    typed: str
    file: Path
    sha256: str
    name: str | None = None


def first_weights(config: DictConfig) -> FirstWeights | None:
    """Find the file of model.weights and hash it; None where a net's weights are drawn.

    ConfigError for a name that the net's library does not have, DataError if a file is not there or
    is not what its name says. A library's file is downloaded only with model.download=true.
    """
    options = net_options(config)
    if options.weights is None:
        return None
    typed = os.path.expanduser(options.weights)
    if typed.endswith(ENDINGS) or os.sep in typed:
        return FirstWeights(options.weights, Path(typed), sha256_of(Path(typed)))
    values = function_values(config, "model")
    library = _library(str(config.model["_target_"]))
    if library is None:
        raise ConfigError(
            KEY,
            f"expected a file, whose name ends with {', '.join(ENDINGS[:3])}, got "
            f"{options.weights!r}; this net has no weights of a library",
        )
    with refusing():
        return _offered(library, options.weights, values, download=options.download)


@contextmanager
def refusing() -> Iterator[None]:
    """Turn a Refused of a net's library into the ConfigError that names the key."""
    try:
        yield
    except Refused as error:
        raise ConfigError(f"model.{error.key}", error.complaint) from error


def sha256_of(file: Path, key: str = KEY) -> str:
    """SHA-256 of a file's content, in hex; a file that has not changed is read once a process.

    DataError, which names the key that the file was given to, if it cannot be read.
    """
    try:
        status = file.stat()
        if not file.is_file():
            kind = f"a folder{OF_A_RUN * (key == KEY)}" if file.is_dir() else "a device"
            raise DataError(f"{key}: expected a file, got {file}, which is {kind}")
        return _digest(str(file.resolve()), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise DataError(f"{key}: cannot read {file}: {error.strerror or error}") from error


@cache
def _digest(file: str, size: int, changed: int) -> str:
    del size, changed  # keys of the cache: an edited file is read again
    with open(file, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _library(target: str) -> Library | None:
    try:
        return library_of(get_method(target))
    except Exception:  # whatever a module raises: the check of the target says it in full
        return None


def _offered(
    library: Library, typed: str, values: Mapping[str, Any], *, download: bool
) -> FirstWeights:
    library.check(values)
    names = library.names(values)
    if not names:
        raise ConfigError(KEY, f"the library offers no weights for {values.get('name')}")
    name = names[0] if typed == DEFAULT else typed
    if name not in names:
        way_out = nearest(name, [DEFAULT, *names])
        raise ConfigError(KEY, f"no weights {typed!r} of {values.get('name')}; {way_out}")
    offered = library.file(name, values)
    file = offered.file
    if not file.is_file():
        if not download:
            raise DataError(
                f"{KEY}={typed} needs {file.name} in {file.parent}: put it there (from "
                f"{offered.source}), or model.download=true"
            )
        file = offered.download()
    digest = sha256_of(file)
    if not digest.startswith(offered.sha256):
        raise DataError(
            f"{file} is damaged: expected a SHA-256 that begins with {offered.sha256}, got "
            f"{digest[: max(8, len(offered.sha256))]}; delete it"
        )
    return FirstWeights(typed, file, digest, name)
