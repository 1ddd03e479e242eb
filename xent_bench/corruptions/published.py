"""Published sets of corrupted images, read where they lie: their layout says which kind one is.

| set | layout |
|---|---|
| CIFAR-10-C, CIFAR-100-C | `NAME.npy`: test at severity 1, then at 2, up to 5; `labels.npy` |
| MNIST-C | `NAME/test_images.npy` and `NAME/test_labels.npy`: one severity |
| Tiny-ImageNet-C, ImageNet-C | `NAME/SEVERITY/CLASS/FILE.JPEG`, or `noise/NAME/...` and so on |
"""

import os
from pathlib import Path
from typing import TypeAlias

from xent_bench.config.published_names import LABELS, TEST_IMAGES
from xent_bench.corruptions.published_arrays import PublishedArrays, five_in_a_row, one_severity
from xent_bench.corruptions.published_files import PublishedFiles, folders_of_severities
from xent_bench.data.image_files import shown
from xent_bench.failures import DataError

PublishedSet: TypeAlias = PublishedArrays | PublishedFiles

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
EXPECTED = (
    "NAME.npy and labels.npy (CIFAR-10-C, CIFAR-100-C), NAME/test_images.npy (MNIST-C) or "
    "NAME/1/CLASS/FILE.JPEG (Tiny-ImageNet-C, ImageNet-C)"
)


def published_set(root: str | Path) -> PublishedSet:
    """List a folder's corruptions and severities. DataError if it is none of these sets.

    Few files are opened: an array is mapped and checked when it is asked for.
    """
    folder = Path(root).expanduser()
    try:
        entries = sorted(os.listdir(folder))
    except OSError as error:
        raise DataError(f"cannot read shift.root={shown(folder)}: {error.strerror}") from error
    if LABELS in entries:
        return five_in_a_row(folder)
    if any((folder / name / TEST_IMAGES).is_file() for name in entries):
        return one_severity(folder)
    if corruptions := folders_of_severities(folder):
        return PublishedFiles(folder, corruptions)
    raise DataError(f"expected in shift.root={shown(folder)}: {EXPECTED}{_hint(folder, entries)}")


def _hint(folder: Path, entries: list[str]) -> str:
    archives = [name for name in entries if name.endswith(ARCHIVES)]
    if archives:
        return f"; {shown(archives[0])} is an archive, so unpack it first"
    if arrays := [name for name in entries if name.endswith(".npy")]:
        return f"; there is {shown(arrays[0])}, but no {LABELS}"
    inner = [name for name in entries if (folder / name / LABELS).is_file()]
    if inner:
        return f"; there is such a set in {shown(folder / inner[0])}"
    return "" if entries else ", but the folder is empty"
