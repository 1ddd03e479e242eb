"""The corruptions that a folder of published images has, by the names of its files alone."""

import os
from collections.abc import Mapping
from pathlib import Path

LABELS, TEST_IMAGES = "labels.npy", "test_images.npy"
FIVE = (1, 2, 3, 4, 5)


def published_severities(root: Path) -> Mapping[str, tuple[int, ...]]:
    """The severities of each corruption in a folder like CIFAR-10-C, MNIST-C or ImageNet-C.

    Empty for a folder of another layout, or one that cannot be read.
    """
    entries = _listed(root)
    if LABELS in entries:
        names = [name.removesuffix(".npy") for name in entries if name.endswith(".npy")]
        return {name: FIVE for name in names if f"{name}.npy" != LABELS}
    arrays = {name: (1,) for name in entries if (root / name / TEST_IMAGES).is_file()}
    if arrays:
        return arrays
    corruptions = {}
    for name in entries:
        if severities := _severities(root / name):
            corruptions[name] = severities
            continue
        for inner in _listed(root / name):
            if severities := _severities(root / name / inner):
                corruptions[inner] = severities
    return corruptions


def _severities(folder: Path) -> tuple[int, ...]:
    return tuple(severity for severity in FIVE if (folder / str(severity)).is_dir())


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        return []
