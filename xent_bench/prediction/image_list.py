"""The image files that words name: files as they are typed, and what lies in folders."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from xent_bench.data.class_folders import is_image_name, visible
from xent_bench.data.decoding import ENDINGS
from xent_bench.data.image_files import shown
from xent_bench.failures import DataError


class ListedFile(NamedTuple):
    """A file to predict, or a place without one and the reason in `error`."""

    path: str
    error: str = ""


def image_list(words: Sequence[str], left_out: "Counter[str]") -> Iterator[ListedFile]:
    """List the files of each word in its turn; a folder is gone through, one folder at a time.

    A file that is named is taken whatever its name. In a folder the images are those with an
    ending of an image, by the order of their names, then those of its inner folders likewise.
    `left_out` counts what was passed by there. A place without an image is listed with an error.
    """
    for word in words:
        if not os.path.isdir(word):
            yield ListedFile(word, _complaint(word))
            continue
        has_images = False
        for listed in _in_folder(word, left_out):
            has_images = True
            yield listed
        if not has_images:
            yield ListedFile(word, f"expected images in this folder, with an ending {_endings()}")


def _in_folder(folder: str, left_out: "Counter[str]") -> Iterator[ListedFile]:
    try:
        entries = visible(Path(folder), left_out)
    except DataError as error:
        yield ListedFile(folder, str(error).removeprefix(f"cannot read {shown(folder)}: "))
        return
    folders, files = [], []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            folders.append(entry.name)
        elif entry.is_dir():  # it may lead back to a folder above it
            left_out["link to a folder"] += 1
        elif is_image_name(entry.name):
            files.append((entry.name, entry.is_file()))  # the folder told, without a look at it
        else:
            left_out["file with another ending"] += 1
    del entries
    files.sort()
    for name, is_file in files:
        path = os.path.join(folder, name)
        yield ListedFile(path, "" if is_file else _complaint(path))
    for name in sorted(folders):
        yield from _in_folder(os.path.join(folder, name), left_out)


def _complaint(path: str) -> str:
    """The reason why there is no file to read; empty if there is one."""
    if os.path.isfile(path):
        return ""
    if os.path.islink(path) and not os.path.exists(path):
        return "a link that leads nowhere"
    if not os.path.lexists(path):
        return "no such file or folder"
    return "expected a file, got a pipe, a socket or a device"  # which might never end


def _endings() -> str:
    return f"such as {', '.join(ENDINGS[:3])}"


def left_out_line(left_out: "Counter[str]") -> list[str]:
    """A sentence that counts what was passed by in folders; nothing if all was taken."""
    counted = [f"{kind}: {count:,}" for kind, count in sorted(left_out.items()) if count]
    return [f"Left out in folders: {', '.join(counted)}."] if counted else []
