"""Outputs and labels that somebody gives: arrays, tensors or lists, checked and as NumPy arrays.

PyTorch is not imported: a tensor is known by its methods.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float

from xent_bench import links
from xent_bench.arrays import LogProbabilities, Outputs, Target
from xent_bench.links import LINKS, BoundLink, softmax
from xent_bench.runs.predictions import SUM_TOLERANCE

Matrix: TypeAlias = Float[np.ndarray, "n c"]
# the name of a link, a link, or how numbers are given that are probabilities already
LinkLike: TypeAlias = str | Callable[[Any], LogProbabilities | None]

PROBABILITIES, LOG_PROBABILITIES = "probabilities", "log_probabilities"
GIVEN = (PROBABILITIES, LOG_PROBABILITIES)
BOUND = ("projection", "normalised_softmax")  # links that need a hyper-parameter of their loss
FEWEST_CLASSES = 2
# What no logits look like: from ENOUGH rows on, sums that all lie within ROUNDED of 1, or of 100 %.
# 1,000 probabilities with three decimals each sum to 0.86, for one.
ENOUGH, ROUNDED = 10, 0.2


def read_outputs(outputs: Any, link: LinkLike, name: str) -> tuple[Outputs, BoundLink]:
    """Return outputs (n, classes) as a float array, and the link that reads them.

    Probabilities become their logarithms, which softmax reads; 0 becomes -inf. `name` is what an
    error calls the outputs. ValueError for another shape, NaN, infinite logits, and probabilities
    that are given as logits, rounded or in per cent too, or logits as probabilities.
    """
    array = as_matrix(outputs, name)
    if link == PROBABILITIES:
        _check_probabilities(array, name)
        with np.errstate(divide="ignore"):  # log 0 = -inf is intended
            return np.log(array.astype(np.float64)), bound_link(softmax)
    if link == LOG_PROBABILITIES:
        _check_probabilities(np.exp(array.astype(np.float64)), f"exp({name})")
        return array, bound_link(softmax)
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
        raise ValueError(f"{name}: expected finite outputs, got NaN or infinity in row {row}")
    if link == softmax.__name__:
        _refuse_probabilities(array, name)
    return array, bound_link(link)


def read_target(target: Any, outputs: Outputs, name: str) -> Target:
    """Return the labels of outputs (n, classes) as int64 (n,), or as float64 (n, classes) if soft.

    ValueError for labels of another shape, outside 0 to classes - 1, or rows that are no
    distribution.
    """
    array = as_array(target, name)
    n, classes = outputs.shape
    if array.ndim == 2:
        if array.shape != (n, classes):
            raise ValueError(f"{name}: expected shape ({n}, {classes}), got {array.shape}")
        _check_probabilities(array, name)
        return array.astype(np.float64)
    if array.shape != (n,):
        raise ValueError(
            f"{name}: expected one label for each of {n} rows of outputs, as shape ({n},), or soft "
            f"labels ({n}, {classes}), got shape {array.shape}"
        )
    if array.dtype.kind not in "iu":
        raise ValueError(f"{name}: expected classes as integers, got {array.dtype}")
    if not 0 <= array.min() <= array.max() < classes:
        got = f"{array.min()} to {array.max()}"
        raise ValueError(f"{name}: expected classes from 0 to {classes - 1}, got {got}")
    return array.astype(np.int64)


def as_matrix(outputs: Any, name: str) -> Matrix:
    """Return an array of floats (n, classes). ValueError for another shape or no row."""
    array = as_array(outputs, name)
    if array.ndim != 2 or array.shape[1] < FEWEST_CLASSES or not len(array):
        raise ValueError(
            f"{name}: expected shape (n, classes) with at least one row and {FEWEST_CLASSES} "
            f"classes, got {array.shape}; one score z for two classes is the pair (0, z)"
        )
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected numbers, got {array.dtype}")
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def as_array(values: Any, name: str) -> np.ndarray:
    """Return values as a NumPy array; a tensor is detached and copied to the CPU.

    ValueError for what is no array, such as rows of different lengths, and for masked values.
    """
    if np.ma.is_masked(values):
        masked = int(np.ma.getmaskarray(values).sum())
        raise ValueError(f"{name}: expected no masked value, got {masked} of {values.size}")
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":  # which NumPy lacks
            values = values.float()
        values = values.numpy()
    elif isinstance(values, list | tuple) and any(hasattr(row, "detach") for row in values):
        values = [as_array(row, name) for row in values]
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: expected an array of numbers: {error}") from None


def bound_link(link: LinkLike) -> BoundLink:
    """Return a link by its name, or bind one that is given. ValueError for an unknown name."""
    if isinstance(link, partial):
        return link
    if callable(link):
        return partial(link)
    if link in BOUND:
        raise ValueError(
            f"link: {link} needs the hyper-parameter of its loss; take the link of a loss, as in "
            'link=xb.loss("logit_norm", tau=0.04).link'
        )
    if link not in LINKS:
        names = [name for name in LINKS if name not in BOUND]
        raise ValueError(
            f"link: expected one of {', '.join([*names, *GIVEN])}, or a link, got {link!r}"
        )
    return partial(getattr(links, link))


def without_zeros(log_p: Outputs) -> Outputs:
    """Replace -inf, the log of probability 0, by the log of the smallest number above 0.

    A temperature cannot divide -inf. Probabilities of other tools are 0 where float32 ends.
    """
    tiny = np.finfo(np.float32).smallest_subnormal
    return np.maximum(log_p, np.log(tiny)) if log_p.min() == -np.inf else log_p


def refuse_other_order(one: Any, other: Any, names: str) -> None:
    """Raise a ValueError where two pandas objects have one index in two orders.

    As arrays their rows pair by place, and labels would be those of other examples.
    """
    if not (hasattr(one, "iloc") and hasattr(other, "iloc")) or one.index.equals(other.index):
        return
    if len(one) == len(other) and set(one.index) == set(other.index):
        raise ValueError(
            f"{names}: expected one index, got its rows in two orders; rows pair by their place: "
            "reorder one, or give .to_numpy() of both where their places are right"
        )


def refuse_other_columns(one: Any, other: Any, names: str) -> None:
    """Raise a ValueError where two frames of pandas have the same columns in two orders."""
    if not (hasattr(one, "columns") and hasattr(other, "columns")):
        return
    columns, others = list(one.columns), list(other.columns)
    if columns != others and set(columns) == set(others):
        raise ValueError(
            f"{names}: expected the columns of the classes in one order, got {columns[:4]} and "
            f"{others[:4]}, the first ones"
        )


def _refuse_probabilities(array: Matrix, name: str) -> None:
    """Raise a ValueError where logits look like probabilities, rounded ones or percentages."""
    to_read = f'link="{PROBABILITIES}"'
    if _are_probabilities(array):
        raise ValueError(
            f"{name}: expected logits, got rows in [0, 1] that sum to 1, which are probabilities; "
            f"to read them so: {to_read}"
        )
    sums = array.astype(np.float64).sum(axis=1)
    for whole, kind in ((1, "probabilities"), (100, "percentages")):
        near = np.abs(sums / whole - 1).max() <= ROUNDED
        if len(array) >= ENOUGH and array.min() >= 0 and array.max() <= whole and near:
            raise ValueError(
                f"{name}: expected logits, got rows in [0, {whole}] of sums from {sums.min():.4g} "
                f"to {sums.max():.4g}, which look like rounded {kind}; to read them so: divide "
                f"each row by its sum, {to_read}"
            )


def _are_probabilities(array: Matrix) -> bool:
    return bool(
        array.min() >= 0
        and array.max() <= 1 + SUM_TOLERANCE
        and np.abs(array.astype(np.float64).sum(axis=1) - 1).max() < SUM_TOLERANCE
    )


def _check_probabilities(array: np.ndarray, name: str) -> None:
    expected = f"{name}: expected probabilities, rows of at least 0 that sum to 1"
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{expected}, got no numbers")
    if np.isnan(array).any():
        row = int(np.flatnonzero(np.isnan(array).any(axis=1))[0])
        raise ValueError(f"{expected}, got NaN in row {row}")
    if not _are_probabilities(array):
        sums = array.astype(np.float64).sum(axis=1)
        raise ValueError(
            f"{expected} within {SUM_TOLERANCE:g}, got sums from {sums.min():.6g} to "
            f"{sums.max():.6g} and values from {array.min():.4g}; rounded ones: divide each row "
            "by its sum"
        )
