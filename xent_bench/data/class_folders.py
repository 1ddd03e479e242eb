"""The image files in a folder for each class; what is left out there is counted by its reason."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from xent_bench.data.decoding import ENDINGS, FORMATS
from xent_bench.data.image_checks import can_be_written
from xent_bench.data.image_files import shown
from xent_bench.failures import DataError

Entry: TypeAlias = "os.DirEntry[str]"

# written by systems and programs and not by the user, in small letters; besides every name that
# begins with a dot, such as .ipynb_checkpoints and the ._photo.jpg that a Mac writes for photo.jpg
HIDDEN = {
    "$recycle.bin",
    "#recycle",
    "@eadir",
    "__macosx",
    "__pycache__",
    "desktop.ini",
    "ehthumbs.db",
    "icon\r",
    "lost+found",
    "system volume information",
    "thumbs.db",
}
FLATTEN = (
    "a class is one folder, so move or link the inner ones up, or list the images in data=table"
)
KINDS = 6  # endings of files that are no image, each counted by itself; all others together
# endings of images that only another Pillow can read
UNREADABLE = {ending for endings in FORMATS.values() for ending in endings} - set(ENDINGS)


def visible(folder: Path, left_out: "Counter[str]") -> list[Entry]:
    """The entries of a folder, except for hidden ones, which are counted."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise DataError(f"cannot read {shown(folder)}: {error.strerror}") from error
    shown_entries = [entry for entry in entries if not _is_hidden(entry.name)]
    _add(left_out, "hidden", len(entries) - len(shown_entries))
    return shown_entries


def with_images(folders: list[Entry]) -> list[Entry]:
    """The folders, of these, that hold an image of their own."""
    return [
        folder
        for folder in folders
        if any(_is_image(entry.name) for entry in visible(Path(folder), Counter()))
    ]


def class_folders(
    split: Path, entries: Iterable[Entry], left_out: "Counter[str]"
) -> dict[str, Path]:
    """The classes of a split, sorted: the name of each folder, composed (NFC), and its path.

    A Mac may write the same name decomposed (NFD), so that it differs in its bytes.
    """
    classes: dict[str, Path] = {}
    for entry in sorted(entries, key=lambda entry: entry.name):
        if not os.path.isdir(entry):
            _add(left_out, "image beside the class folders", int(_is_image(entry.name)))
            _add(left_out, "broken link", int(_is_broken(entry) and not _is_image(entry.name)))
            continue
        if not any(visible(Path(entry), Counter())):
            _add(left_out, "empty class folder", 1)
            continue
        name = unicodedata.normalize("NFC", entry.name)
        if not can_be_written(name):
            raise DataError(
                "expected the name of a class in UTF-8, without control characters, in "
                f"{shown(split)}, got {shown(entry.name)}"
            )
        if name in classes:
            raise DataError(
                f"expected different classes in {shown(split)}: two folders are called {name}, in "
                "two spellings of Unicode (NFC and NFD)"
            )
        classes[name] = Path(entry)
    if not classes:
        beside, empty = left_out["image beside the class folders"], left_out["empty class folder"]
        images = f", and {beside} images that are in no class" if beside else ""
        none = f"found {empty} empty ones" if empty else "found no folder"
        raise DataError(
            f"expected a folder of images for each class in {shown(split)}, {none}{images}"
        )
    return classes


def listed(
    split: str,
    folders: dict[str, Path],
    classes: tuple[str, ...],
    left_out: "Counter[str]",
) -> tuple[list[str], list[int]]:
    """The images' names relative to the root, sorted within each class, and their class numbers."""
    names, labels = [], []
    for number, name in enumerate(classes):
        if name not in folders:
            continue
        images = _images(folders[name], left_out)
        folder = Path(split, folders[name].name)
        names += [f"{folder}/{file}" for file in sorted(images)]
        labels += [number] * len(images)
    return names, labels


def _images(folder: Path, left_out: "Counter[str]") -> list[str]:
    """The names of a class's images. DataError if there are none, or if one is no file."""
    names, nested = [], 0
    for entry in visible(folder, left_out):
        if _is_image(entry.name):
            if not os.path.isfile(entry):  # a folder, a broken link, a pipe that would block
                raise DataError(f"expected an image, {shown(entry.path)} is no file")
            names.append(entry.name)
        elif os.path.isdir(entry):
            nested += _count_images(entry)
        elif _is_broken(entry) and not Path(entry.name).suffix:
            _add(left_out, "broken link", 1)
        else:
            _count_other(entry.name, left_out)
    if not names:
        within = f"; the {nested} in folders within it are not read: {FLATTEN}" if nested else ""
        endings = " ".join(ENDINGS)
        raise DataError(f"expected images in {shown(folder)}, found none ({endings}){within}")
    _add(left_out, "image in a folder within a class", nested)
    return names


def _count_images(folder: Entry) -> int:
    """The number of images in all folders below this one; links, which may lead back, count 0."""
    if folder.is_symlink():
        return 0
    return sum(_is_image(name) for _, _, names in os.walk(folder.path) for name in names)


def _count_other(name: str, left_out: "Counter[str]") -> None:
    ending = shown(Path(name).suffix.lower())
    if ending in UNREADABLE:
        reason = f"image that this Pillow cannot read ({ending})"
    else:
        reason = f"no image ({ending})" if ending else "no image"
        kinds = sum(reason.startswith("no image (") for reason in left_out)
        if reason not in left_out and kinds >= KINDS:
            reason = "no image"
    _add(left_out, reason, 1)


def _is_broken(entry: Entry) -> bool:
    return entry.is_symlink() and not os.path.exists(entry)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in HIDDEN


def _is_image(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def _add(left_out: "Counter[str]", reason: str, n: int) -> None:
    if n:  # a reason without a case would be shown
        left_out[reason] += n
