"""Published corrupted images in files: Tiny-ImageNet-C and ImageNet-C."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from xent_bench.data.class_folders import is_image_name
from xent_bench.data.image_files import shown
from xent_bench.failures import DataError


class File(NamedTuple):
    """An image file of a class: the class's name, and the file's name without its folders."""

    class_name: str
    name: str


@dataclass(frozen=True)
class PublishedFiles:
    """Corrupted images of test, each in a file of the same name as the clean one."""

    root: Path
    folders: dict[str, dict[int, Path]]  # of a corruption, by severity

    @property
    def names(self) -> tuple[str, ...]:
        """The corruptions that there are."""
        return tuple(self.folders)

    def severities(self, name: str) -> tuple[int, ...]:
        """The severities of a corruption that there are."""
        return tuple(self._folders(name))

    def folder(self, name: str, severity: int) -> Path:
        """The folder that holds one folder for each class."""
        folders = self._folders(name)
        if severity not in folders:
            raise DataError(
                f"{name} in shift.root={shown(self.root)} has severity "
                f"{', '.join(map(str, folders))}, got {severity}"
            )
        return folders[severity]

    def files(self, name: str, severity: int) -> tuple[File, ...]:
        """List all image files, sorted by class and name. The class of a file is its label."""
        folder = self.folder(name, severity)
        return tuple(
            File(class_name, file)
            for class_name in _names(folder)
            if (folder / class_name).is_dir()
            for file in _names(folder / class_name)
            if is_image_name(file)
        )

    def names_of(self, name: str, severity: int, clean: Sequence[File]) -> list[str]:
        """Find the corrupted version of each clean file, as a name relative to `folder`.

        Files are the same if their class is and their name, but for its ending. DataError unless
        there is one for each, and none besides.
        """
        corrupted = {_key(file): file for file in self.files(name, severity)}
        folder = shown(self.folder(name, severity))
        missing = [file for file in clean if _key(file) not in corrupted]
        if missing:
            raise DataError(
                f"expected a corrupted version of each image of test in {folder}, got none of "
                f"{len(missing)} of {len(clean)}, such as {shown('/'.join(missing[0]))}"
            )
        if left := corrupted.keys() - map(_key, clean):
            raise DataError(
                f"expected corrupted images of test alone in {folder}, got {len(left)} others, "
                f"such as {shown('/'.join(corrupted[min(left)]))}"
            )
        return ["/".join(corrupted[_key(file)]) for file in clean]

    def _folders(self, name: str) -> dict[int, Path]:
        if name not in self.folders:
            raise DataError(
                f"expected a corruption of {', '.join(self.names)} in shift.root={shown(self.root)}"
                f", got {name}"
            )
        return self.folders[name]


def folders_of_severities(root: Path) -> dict[str, dict[int, Path]]:
    """The folders root/NAME/1 to 5, or root/noise/NAME/1 and so on, as far as they are there."""
    corruptions = {}
    for outer in _folders_in(root):
        if severities := _severities(outer):
            corruptions[outer.name] = severities
            continue
        for inner in _folders_in(outer):
            if severities := _severities(inner):
                corruptions[inner.name] = severities
    return corruptions


def _severities(folder: Path) -> dict[int, Path]:
    places = {severity: folder / str(severity) for severity in range(1, 6)}
    return {severity: place for severity, place in places.items() if place.is_dir()}


def _folders_in(folder: Path) -> list[Path]:
    return [folder / name for name in _names(folder) if (folder / name).is_dir()]


def _key(file: File) -> tuple[str, str]:
    return file.class_name, os.path.splitext(file.name)[0]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read {shown(folder)}: {error.strerror}") from error
