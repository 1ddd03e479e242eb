"""Votes of people on the classes of images, in a .npy file: a row for each image.

CIFAR-10H is published so, as `cifar10h-counts.npy` and `cifar10h-probs.npy`: 10,000 x 10, in the
order of CIFAR-10's test split (Peterson et al., 2019, arXiv:1908.07086). The file is read as data.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64

from xent_bench.data.image_files import shown
from xent_bench.failures import DataError
from xent_bench.types import Distribution, Index

CHANCE = 0.5  # of images whose label has to be the likeliest class; in a wrong order 1 / c are
WRONG = 3  # rows that a refusal names


def votes_of(file: Path, labels: Index, classes: int) -> tuple[Distribution, str]:
    """The share of votes for each class (n, c), float64, and a line on them; `labels` are (n,).

    The rows hold counts or shares; each is divided by its sum. DataError for a file of another
    form, for a row without a vote or with a negative one, and where the votes are at odds with most
    labels, as in another order of images.
    """
    votes = _read(file)
    if votes.shape != (len(labels), classes):
        got = " x ".join(map(str, votes.shape)) or "a single number"
        raise DataError(
            f"expected votes on {len(labels):,} images for {classes} classes as "
            f"{len(labels)} x {classes} numbers in data.votes={shown(file)}, got {got}"
        )
    _refuse_rows(votes, file)
    sums = votes.sum(axis=1, keepdims=True)
    rows = torch.from_numpy(votes / sums)
    likeliest = rows.argmax(dim=1) == labels
    share = float(likeliest.double().mean())
    if share < CHANCE:
        raise DataError(
            f"expected votes in the order of the images in data.votes={shown(file)}; their "
            f"likeliest class is the label of {int(likeliest.sum()):,} of {len(labels):,} images "
            "only"
        )
    line = f"{shown(file)}; the likeliest class is the label of {100 * share:.2f} %"
    if (votes == votes.round()).all() and sums.max() > 1:
        line += f"; {sums.mean():.1f} votes an image ({sums.min():.0f} to {sums.max():.0f})"
    return rows, line


def _read(file: Path) -> Float64[np.ndarray, "..."]:
    if file.suffix.lower() != ".npy":
        raise DataError(
            f"expected votes in a .npy file as data.votes, got {shown(file)}: "
            "np.save(FILE, votes) writes one"
        )
    try:
        votes = np.load(file, allow_pickle=False)
        if not isinstance(votes, np.ndarray) or votes.dtype.kind not in "iufb":
            raise ValueError(f"expected numbers, got {getattr(votes, 'dtype', 'several arrays')}")
    except (OSError, ValueError, EOFError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise DataError(f"cannot read data.votes={shown(file)}: {reason}") from error
    numbers: Float64[np.ndarray, ...] = votes.astype(np.float64)
    return numbers


def _refuse_rows(votes: Float64[np.ndarray, "n c"], file: Path) -> None:
    """DataError that names rows, counted from 0 as the images are, and what is wrong with them."""
    complaints = {
        "a number that is not finite": ~np.isfinite(votes).all(axis=1),
        "a negative vote": (votes < 0).any(axis=1),
        "no vote for any class": (votes == 0).all(axis=1),
    }
    for complaint, is_wrong in complaints.items():
        rows = np.flatnonzero(is_wrong)
        if len(rows):
            named = ", ".join(map(str, rows[:WRONG])) + ", ..." * (len(rows) > WRONG)
            raise DataError(
                f"expected votes of at least 0, and one or more for each image, in "
                f"data.votes={shown(file)}: row {named} (counted from 0) has {complaint}"
                + f"; {len(rows):,} rows of {len(votes):,} do"
                * (len(rows) > 1)
            )
