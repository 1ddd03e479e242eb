"""Fashion-MNIST: 70,000 images of 28 x 28 pixels, ten kinds of clothing.

Xiao et al., 2017, arXiv:1708.07747.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch

from xent_bench.data.augment import Augmentation
from xent_bench.data.image_set import ImageSet
from xent_bench.data.root_folder import root_folder
from xent_bench.failures import DataError
from xent_bench.ranges import Moments, NaturalNumber

FILES = (
    *("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"),
    *("train-labels-idx1-ubyte", "t10k-labels-idx1-ubyte"),
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
CLASSES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
DOWNLOADS = Path("data")  # where torchvision downloads to when no root is given
WAYS = (
    "install Debian's package dataset-fashion-mnist, or set data.root=FOLDER to the folder of the "
    "four IDX files, or set data.download=true"
)


def fashion_mnist(
    *,
    root: str | None = None,
    download: bool = False,
    flip: bool = True,
    crop: NaturalNumber = 0,
    mean: Moments | None = None,
    std: Moments | None = None,
) -> ImageSet:
    """60,000 images for training, 10,000 in the official test split.

    The four files are read from `root`; without a root, from where Debian's package puts them,
    else from `data`, where an earlier download put them. Pixels are normalised by `mean` and `std`,
    in units of 0 to 1, else by train's own moments. DataError if they are missing or damaged.
    """
    files = _find(root)
    if files is None and download:
        _download(root_folder(root) if root else DOWNLOADS)
        files = _find(root)
    if files is None:
        places = ", ".join(str(place) for place in _places(root))
        raise DataError(f"Fashion-MNIST's four files not found in {places}: {WAYS}")
    *images, train_labels, test_labels = (_read_idx(file) for file in files)
    return ImageSet(
        torch.cat(images)[:, None],
        torch.cat((train_labels, test_labels)).long(),
        CLASSES,
        test=torch.arange(len(images[0]), len(images[0]) + len(images[1])),
        augmentation=Augmentation(flip, crop),
        mean=mean,
        std=std,
    )


def _download(root: Path) -> None:
    from torchvision.datasets import FashionMNIST  # takes seconds to import

    try:
        for train in (True, False):
            FashionMNIST(root, train=train, download=True)
    except (OSError, RuntimeError) as error:  # no network, disk full, a damaged file
        reason = " ".join(str(error).split())
        raise DataError(f"cannot download Fashion-MNIST into {root}: {reason}") from error


def _places(root: str | None) -> tuple[Path, ...]:
    """The folders that may hold the four files, in the order in which they are tried."""
    raw = Path("FashionMNIST", "raw")  # torchvision's layout
    if root is not None:
        return root_folder(root), root_folder(root) / raw
    return DEBIAN, DOWNLOADS / raw


def _find(root: str | None) -> list[Path] | None:
    """The four files, plain or gzipped, in the first folder that holds all; None without."""
    for place in _places(root):
        plain = [place / name for name in FILES]
        files = [file if file.exists() else file.with_name(file.name + ".gz") for file in plain]
        if all(file.exists() for file in files):
            return files
    return None


def _read_idx(file: Path) -> torch.Tensor:
    """Read an IDX file of unsigned bytes. DataError if it is damaged.

    The format is: 0, 0, 8 (the type), the number of axes, their lengths (4 bytes each), the values.
    """
    try:
        content = file.read_bytes()
        if file.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    header = np.frombuffer(content[:4], np.uint8)
    if len(header) < 4 or header[:3].tolist() != [0, 0, 8]:
        raise DataError(f"expected an IDX file of unsigned bytes, got something else in {file}")
    axes = int(header[3])
    shape = np.frombuffer(content[4 : 4 + 4 * axes], ">u4")
    values = np.frombuffer(content[4 + 4 * axes :], np.uint8)
    if len(shape) != axes or values.size != int(shape.prod(dtype=np.int64)):
        want = " x ".join(str(length) for length in shape)
        raise DataError(f"{file} is cut off: expected {want} values, got {values.size}")
    return torch.from_numpy(values.reshape(tuple(int(length) for length in shape)).copy())
