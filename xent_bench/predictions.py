"""What a run predicted on calib and test, kept: every metric can be computed from it again.

`predictions.npz` holds, for each of the two splits, a net's outputs as they were (float32), the
true classes and the ids of the examples; the names of the classes; and the name of the link that
reads the outputs, with its hyper-parameters. PyTorch is not needed to read it.
"""

import json
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Int64

from xent_bench.arrays import Labels, Outputs
from xent_bench.failures import DataError
from xent_bench.links import BoundLink

PARTS = ("logits", "target", "id")  # of a split, in the file


Ids: TypeAlias = Int64[np.ndarray, " m"]  # of a split


class Predicted(NamedTuple):
    """The outputs of a split, each example once, in the order of their ids."""

    split: str
    outputs: Outputs
    target: Labels
    id: Labels


class Predictions(NamedTuple):
    """Of a run. The temperature is fitted on calib; test is what is reported."""

    calib: Predicted
    test: Predicted
    link: BoundLink
    classes: tuple[str, ...]


def predicted(
    split: str, outputs: Outputs, target: Labels, ids: Labels, expected: Ids | None = None
) -> Predicted:
    """In the order of the ids; a ValueError unless each occurs exactly once: each of `expected`."""
    order = ids.argsort(kind="stable")
    expected = np.unique(ids) if expected is None else np.sort(expected)
    if not np.array_equal(ids[order], expected):
        raise ValueError(f"{split}: {_first_difference(ids, expected)}")
    return Predicted(split, outputs[order], target[order], ids[order])


def required(split: str, given: Predicted) -> Predicted:
    """It, if it is of that split; a ValueError else: what is fitted on test is no test."""
    if given.split != split:
        raise ValueError(f"expected outputs on {split}, got those on {given.split}")
    return given


def save(predictions: Predictions, file: Path) -> None:
    """It appears whole."""
    calib, test, link, classes = predictions
    arrays: dict[str, Any] = {"link": np.array(_name(link)), "classes": np.array(classes)}
    for split, *parts in (calib, test):
        arrays |= {f"{split}_{name}": part for name, part in zip(PARTS, parts, strict=True)}
    part = file.with_suffix(".part")
    with part.open("wb") as opened:
        np.savez(opened, **arrays)
    part.rename(file)


def load(file: Path) -> Predictions:
    """A DataError if the file is not there, not whole, or older than links were kept."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
            calib, test = (
                predicted(split, *(stored[f"{split}_{part}"] for part in PARTS))
                for split in ("calib", "test")
            )
            link, classes = _link(str(stored["link"])), tuple(stored["classes"].tolist())
            return Predictions(calib, test, link, classes)
    except FileNotFoundError:
        raise DataError(f"expected the predictions of a run: no {file}") from None
    except KeyError as error:
        raise DataError(f"{file}: it has no {error}; written by an older version?") from error
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise DataError(f"cannot read {file}: {error}") from error


def _first_difference(ids: Labels, expected: Ids) -> str:
    found, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        at = counts.argmax()
        return f"expected each example once, got id {found[at]} {counts[at]} times"
    missing, strange = np.setdiff1d(expected, found), np.setdiff1d(found, expected)
    if len(missing):
        return f"expected every example of the split, got none with id {missing[0]}"
    return f"expected examples of the split alone, got id {strange[0]}"


def _name(link: BoundLink) -> str:
    """The function's place and what it is called with, as JSON."""
    function, keywords = link.func, dict(link.keywords)
    plain = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in keywords.items()}
    return json.dumps({"link": f"{function.__module__}.{function.__qualname__}"} | plain)


def _link(name: str) -> BoundLink:
    keywords = json.loads(name)
    place = keywords.pop("link")
    module, _, function = place.rpartition(".")
    try:
        found: Callable[..., Any] = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"its link {place} cannot be imported: {error}") from error
    arrays = {k: np.array(v) if isinstance(v, list) else v for k, v in keywords.items()}
    return partial(found, **arrays)
