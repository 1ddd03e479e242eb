"""CIFAR-10H: the test images of CIFAR-10 with the votes of about 50 people on each.

Peterson et al., 2019, arXiv:1908.07086; https://github.com/jcpeterson/cifar-10h.
"""

from dataclasses import replace

from torch import Tensor

from xent_bench.data.cifar import DOWNLOADS, cifar10
from xent_bench.data.image_set import ImageSet
from xent_bench.data.root_folder import root_folder
from xent_bench.failures import DataError
from xent_bench.ranges import Moments, NaturalNumber

NAMES = ("cifar10h-counts.npy", "cifar10h-probs.npy")  # as published


def cifar10h(
    *,
    root: str | None = None,
    votes: str | None = None,
    download: bool = False,
    flip: bool = True,
    crop: NaturalNumber = 4,
    mean: Moments | None = None,
    std: Moments | None = None,
) -> ImageSet:
    """The 10,000 test images of CIFAR-10 alone, with votes as labels; all four splits are drawn.

    Images are read as for `cifar10`. `votes` is the file of votes, which is not downloaded; without
    it a file of a published name is looked for in `root`. DataError if there is none.
    """
    file = _usual(root) if votes is None else votes
    whole = cifar10(root=root, votes=file, download=download, flip=flip, crop=crop)
    assert whole.test is not None
    assert isinstance(whole.images, Tensor)
    return replace(
        whole,
        images=whole.images[whole.test],
        labels=whole.labels[whole.test],
        test=None,
        mean=mean,
        std=std,
    )


def _usual(root: str | None) -> str:
    folder = DOWNLOADS if root is None else root_folder(root)
    files = [place / name for place in (folder, folder / "cifar10h") for name in NAMES]
    votes = next((file for file in files if file.is_file()), None)
    if votes is None:
        raise DataError(
            f"expected the votes of CIFAR-10H, {' or '.join(NAMES)}, in {folder}: data.votes=FILE "
            "names the file elsewhere (https://github.com/jcpeterson/cifar-10h has both)"
        )
    return str(votes)
