"""The cache of decoded images: made once, before the first epoch, for every run that needs it.

It is made under a lock by all cores, whole or not at all, and not while the first epoch trains:
that epoch sees train alone, in several processes, and may be interrupted. Its name is a hash of the
files' contents, of how they are reduced, and of the libraries that do it; so a set that was moved
or renamed is found again, and no run reads what another Pillow decoded.
"""

import hashlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import PIL
import torch
from filelock import FileLock, Timeout
from PIL import features

from xent_bench.cache_folder import cache_folder
from xent_bench.data.cropping import Pixels
from xent_bench.data.image_files import ImageFiles
from xent_bench.data.image_set import ImageSet
from xent_bench.data.stored_images import StoredImages, StoredWriter, is_damaged
from xent_bench.failures import DataError
from xent_bench.process.counted import Counted
from xent_bench.process.processors import processors

VERSION = 1  # of what is stored
FOLDER = "images"  # in the user's cache folder
SHARE = 0.25  # of the free disk, which all caches together may take
UNUSED = 30 * 86400  # seconds after which a cache is removed
IN_USE = 86400  # seconds in which a cache that was used is never removed to make room
SAMPLE = 32  # images whose sizes say how much room all need
QUIET, BETWEEN = 3.0, 30.0  # seconds before the first line of progress, and between two


class NoRoomError(Exception):
    """The disk has no room for the images, or too little of it is free."""


def kept(data: ImageSet, wish: bool | None, epochs: int) -> ImageSet:
    """The set with its reduced images read from the cache, which is made where there is none.

    With a wish of None it is made if there is room in a quarter of the free disk and if images are
    seen more than once. Where it cannot be made, a line on stderr says why, and images are decoded
    in every epoch. DataError for a wish that cannot be granted.
    """
    files = data.images
    if wish is False or not isinstance(files, ImageFiles):
        return data
    if not files.preparation.shorter_side:
        if wish:
            raise DataError(
                "machine.cache=true keeps images that were reduced to data.shorter_side; with "
                "data.shorter_side=0, which crops the whole image, there are none to keep"
            )
        return data
    try:
        folder = cache_folder() / FOLDER / _name(files)
        stored = _opened(folder, files)
        if stored is None and (wish or epochs > 1):
            stored = _made(folder, files, is_wanted=bool(wish))
    except (NoRoomError, OSError, RuntimeError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        print(f"images are decoded in every epoch: {reason}", file=sys.stderr, flush=True)
        return data
    return data if stored is None else replace(data, images=files.kept_in(stored))


def _name(files: ImageFiles) -> str:
    chosen = files.preparation
    how = VERSION, chosen.shorter_side, chosen.interpolation, chosen.channels
    libraries = PIL.__version__, features.version("jpg"), torch.__version__
    processor = platform.machine(), torch.backends.cpu.get_cpu_capability()
    content = hashlib.sha256(repr((how, libraries, processor)).encode())
    content.update(files.hashes.tobytes())
    return content.hexdigest()[:32]


def _opened(folder: Path, files: ImageFiles) -> StoredImages | None:
    """The images of a folder of the cache; None if it is missing or damaged."""
    if is_damaged(folder):
        return None
    try:
        stored = StoredImages(folder, files.preparation.channels)
    except Exception:  # NumPy and zipfile raise many kinds of error for a damaged file
        return None
    if len(stored) != len(files):
        return None
    with suppress(OSError):
        os.utime(folder)  # it was used now
    return stored


def _made(folder: Path, files: ImageFiles, *, is_wanted: bool) -> StoredImages | None:
    """Make the cache, or wait until another process has made it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _held(folder.with_suffix(".lock")):
        if (stored := _opened(folder, files)) is not None:
            return stored
        shutil.rmtree(folder, ignore_errors=True)  # it was damaged
        _remove_old(folder.parent)
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)  # its maker was killed
        try:
            _write(part, files, _room(folder.parent, files, is_wanted=is_wanted))
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return _opened(folder, files)


@contextmanager
def _held(file: Path) -> Iterator[None]:
    lock = FileLock(file)
    try:
        lock.acquire(timeout=QUIET)
    except Timeout:
        print("waiting for a process that decodes these images", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _room(parent: Path, files: ImageFiles, *, is_wanted: bool) -> int:
    """The bytes that the cache may take. NoRoomError if a sample shows that they are too few."""
    free = shutil.disk_usage(parent).free
    taken = sum(map(_size, _caches(parent)))
    room = free if is_wanted else int(SHARE * (free + taken)) - taken
    numbers = np.linspace(0, len(files) - 1, min(SAMPLE, len(files))).astype(int).tolist()
    needed = len(files) * float(np.mean([files.reduced(number).size for number in numbers]))
    if needed > room:
        share = "all" if is_wanted else "a quarter"
        way_out = "" if is_wanted else "; machine.cache=true keeps them if all of it is enough"
        raise NoRoomError(
            f"decoded they take {needed / 2**30:.1f} GiB, and {share} of the free disk of "
            f"{parent}, without the sets that are there, is {max(0, room) / 2**30:.1f} GiB{way_out}"
        )
    return room


def _write(part: Path, files: ImageFiles, room: int) -> None:
    part.mkdir()
    report = Counted("decoding images once, for all runs", len(files), quiet=QUIET, between=BETWEEN)
    with StoredWriter(part) as writer:
        for image in _reduced(files):
            writer.add(image)
            report.count()
            if writer.length > room:
                raise NoRoomError(f"the disk of {part.parent} has too little room for all")


def _reduced(files: ImageFiles) -> Iterator[Pixels]:
    """Reduce all images in threads, in their order and a few at a time."""
    threads = processors()
    numbers = iter(range(len(files)))
    with ThreadPoolExecutor(threads) as pool:
        while chunk := list(islice(numbers, 16 * threads)):
            yield from pool.map(files.reduced, chunk)


def _remove_old(parent: Path) -> None:
    """Remove caches that nobody has used for 30 days, then, for room, those used longest ago.

    A run that reads a removed cache keeps its pages until it ends.
    """
    now = time.time()
    folders = sorted(_caches(parent), key=_used)
    limit = SHARE * (shutil.disk_usage(parent).free + sum(map(_size, folders)))
    for folder in folders:
        age = now - _used(folder)
        is_too_much = sum(map(_size, folders)) > limit
        if age > UNUSED or (age > IN_USE and (is_too_much or folder.suffix == ".part")):
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)


def _caches(parent: Path) -> list[Path]:
    return [path for path in parent.iterdir() if path.is_dir()]


def _used(folder: Path) -> float:
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


def _size(folder: Path) -> int:
    with suppress(OSError):
        return sum(file.stat().st_size for file in folder.iterdir())
    return 0
