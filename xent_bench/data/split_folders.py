"""The folders of a set that are its splits, by the names that people give them."""

import os
from collections import Counter
from pathlib import Path

from xent_bench.data.class_folders import visible, with_images

# of each split, in small letters; where a folder has two of them, the first is it
NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
SPLIT_OF = {name: split for split, names in NAMES.items() for name in names}
# a class of such a name has to lie in train/
SPLITS = {name for names in NAMES.values() for name in names} | {"eval"}
DEEPEST = 3  # folders that hold nothing but one folder, as archives unpack to


def top_folder(root: Path) -> Path:
    """The folder that holds the splits or the classes: `root`, or the only folder in it."""
    folder = root
    for _ in range(DEEPEST):
        if not os.path.isdir(folder):
            return root
        folders = [entry for entry in visible(folder, Counter()) if os.path.isdir(entry)]
        if len(folders) != 1 or folders[0].name.casefold() in SPLITS or with_images(folders):
            return folder
        folder = Path(folders[0])
    return folder


def split_folders(folder: Path) -> dict[str, str]:
    """The folders in `folder` that are its splits: {'train': 'Train', 'val': 'valid'}.

    A name in small letters goes before the same name in capitals.
    """
    if not os.path.isdir(folder):
        return {}
    folders = [entry.name for entry in visible(folder, Counter()) if os.path.isdir(entry)]
    chosen = {}
    for split, names in NAMES.items():
        candidates = [name for name in folders if name.casefold() in names]
        if candidates:
            chosen[split] = min(
                candidates,
                key=lambda name: (names.index(name.casefold()), name != name.lower(), name),
            )
    return chosen
