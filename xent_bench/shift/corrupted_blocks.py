"""Blocks of corrupted images: computed, read from the cache of an earlier run, or published.

A sweep over losses tests every net on the same images. With machine.cache=true corrupted blocks are
kept in the user's cache folder, under a hash of the clean pixels, of their ids and of the code that
corrupts them. Without it they are computed anew: on a CPU the net takes several times as long.
"""

import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xent_bench.cache_folder import cache_folder
from xent_bench.corruptions import __file__ as corruptions_file
from xent_bench.corruptions import corrupted
from xent_bench.process.provenance import version_of
from xent_bench.shift.images_of_test import Block, ImagesOfTest
from xent_bench.shift.published import Published
from xent_bench.types import Images

FOLDER = "corrupted"  # in the user's cache folder
UNUSED = 30 * 86400  # seconds after which a block is removed
LIBRARIES = ("torch", "numpy", "scipy", "pillow")  # that may round otherwise in another version


class CorruptedBlocks:
    """Reads blocks of test's images under a corruption."""

    def __init__(
        self, tested: ImagesOfTest, root: str | None, conditions: Sequence[str], cache: bool | None
    ) -> None:
        """`conditions` are all that will be asked for; `cache` is machine.cache."""
        folder = None if root is None else Path(root).expanduser()
        self.published = None if folder is None else Published(tested, folder, conditions)
        self.cache = _cache(tested, conditions) if cache and root is None else None

    def images(self, block: Block, condition: str) -> Images:
        """The block's images under a corruption at a severity, such as 'fog/3'."""
        name, _, severity = condition.partition("/")
        if self.published is not None:
            return self.published.images(name, int(severity), block)
        if self.cache is None:
            return corrupted(block.images, name, int(severity), block.ids)
        return self.cache.images(block, name, int(severity))


class Cache:
    """Blocks that were corrupted before, in files below a folder."""

    def __init__(self, folder: Path) -> None:
        """Keep blocks below the folder, which need not exist."""
        self.folder = folder
        self.names: dict[int, str] = {}  # hashes of blocks, by the place where they begin

    def images(self, block: Block, name: str, severity: int) -> Images:
        """Read a corrupted block, or compute and keep it; without room it is computed only."""
        file = self.folder / self._name(block) / f"{name}-{severity}.npy"
        with suppress(OSError, ValueError):  # not there, or damaged
            pixels = np.load(file, allow_pickle=False)
            if pixels.dtype == np.uint8 and pixels.shape == tuple(block.images.shape):
                return torch.from_numpy(pixels)
        images = corrupted(block.images, name, severity, block.ids)
        with suppress(OSError):
            _keep(file, images)
        return images

    def _name(self, block: Block) -> str:
        start = block.places.start
        if start not in self.names:
            content = hashlib.sha256(_code().encode())
            content.update(repr(tuple(block.images.shape)).encode())
            content.update(block.images.numpy().tobytes())
            content.update(block.ids.numpy().tobytes())
            self.names[start] = content.hexdigest()[:32]
            with suppress(OSError):
                os.utime(self.folder / self.names[start])  # it is in use
        return self.names[start]


def _cache(tested: ImagesOfTest, conditions: Sequence[str]) -> Cache | None:
    """The cache, with room for all of these images; None where there is too little."""
    folder = cache_folder() / FOLDER
    needed = len(tested.ids) * int(np.prod(tested.data.shape)) * len(conditions)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_unused(folder)
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    return Cache(folder) if needed <= free else None


def _remove_unused(folder: Path) -> None:
    """Remove blocks that nobody has used for 30 days."""
    for block in [entry for entry in folder.iterdir() if entry.is_dir()]:
        with suppress(OSError):
            if time.time() - block.stat().st_mtime > UNUSED:
                shutil.rmtree(block, ignore_errors=True)


def _keep(file: Path, images: Tensor) -> None:
    """Write a block; another process may be writing the same one, so the part has a name apart."""
    file.parent.mkdir(exist_ok=True)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as opened:
            np.save(opened, images.numpy(), allow_pickle=False)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def _code() -> str:
    """The code and the libraries that corrupt images, as a text that changes with them."""
    modules = sorted(Path(str(corruptions_file)).parent.rglob("*.py"))
    digests = [hashlib.sha256(module.read_bytes()).hexdigest() for module in modules]
    return " ".join([*digests, *(version_of(library) for library in LIBRARIES)])
