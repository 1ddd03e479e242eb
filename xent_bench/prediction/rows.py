"""One row for each image: its class and probability, the next classes, its set, or an error."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from xent_bench.arrays import LogProbabilities, Outputs
from xent_bench.prediction.conformal import Conformal

NOT_FINITE = "the net's outputs are not finite"


class Row(NamedTuple):
    """The prediction for one image; without classes if there is an error instead."""

    file: str
    classes: Sequence[str] = ()  # the most probable first
    probabilities: Sequence[float] = ()
    set: Sequence[str] | None = None  # by falling probability; None: not asked for
    abstain: bool | None = None
    error: str = ""


@dataclass(frozen=True)
class Wanted:
    """The columns that are asked of each row."""

    top: int  # classes
    conformal: Conformal | None = None
    least_confidence: float | None = None  # below it an answer is marked


class Names(NamedTuple):
    """The names of a batch's images, and the reasons why some have no prediction, by place."""

    files: Sequence[str]
    errors: dict[int, str]


def rows_of(
    names: Names, log_p: LogProbabilities, u: Outputs | None, classes: Sequence[str], wanted: Wanted
) -> Iterator[Row]:
    """Make the rows of a batch; `log_p` and `u` have a row for each image without an error."""
    order = np.argsort(-log_p, axis=1, kind="stable")
    p = np.exp(np.take_along_axis(log_p, order, axis=1))
    sets = _sets(order, u, classes, wanted.conformal)
    best, probabilities = order[:, : wanted.top].tolist(), p[:, : wanted.top].tolist()
    place = 0
    for number, file in enumerate(names.files):
        if number in names.errors:
            yield Row(file, error=names.errors[number])
            continue
        least = wanted.least_confidence
        yield Row(
            file,
            [classes[k] for k in best[place]],
            probabilities[place],
            None if sets is None else sets[place],
            None if least is None else probabilities[place][0] < least,
        )
        place += 1


def _sets(
    order: np.ndarray, u: Outputs | None, classes: Sequence[str], conformal: Conformal | None
) -> list[list[str]] | None:
    if conformal is None or u is None:
        return None
    is_in = np.take_along_axis(conformal.sets(u), order, axis=1)
    return [[classes[k] for k in row[members]] for row, members in zip(order, is_in, strict=True)]


def columns(wanted: Wanted) -> list[str]:
    """The names of the columns of a row in CSV."""
    further = [f"{name}_{k}" for k in range(2, wanted.top + 1) for name in ("class", "probability")]
    asked = {"set": wanted.conformal, "abstain": wanted.least_confidence}
    return [
        *("file", "class", "probability", *further),
        *(name for name, value in asked.items() if value is not None),
        "error",
    ]


def cells(row: Row, wanted: Wanted) -> list[Any]:
    """The values of a row in the order of `columns`; empty where there is none."""
    pairs: list[Any] = [
        value for pair in zip(row.classes, row.probabilities, strict=True) for value in pair
    ]
    pairs += [""] * (2 * wanted.top - len(pairs))
    asked: list[Any] = []
    if wanted.conformal is not None:
        asked.append("" if row.set is None else "|".join(map(_between_bars, row.set)))
    if wanted.least_confidence is not None:
        asked.append("" if row.abstain is None else ("yes" if row.abstain else "no"))
    return [row.file, *pairs, *asked, row.error]


def _between_bars(name: str) -> str:
    """A class name for the column `set`: a bar or backslash of its own gets a backslash before."""
    return name.replace("\\", "\\\\").replace("|", "\\|")


def record(row: Row) -> dict[str, Any]:
    """A row as an object of JSON; a file that has no prediction has its error alone."""
    if row.error:
        return {"file": row.file, "error": row.error}
    content: dict[str, Any] = {
        "file": row.file,
        "class": row.classes[0],
        "probability": row.probabilities[0],
        "top": [
            {"class": name, "probability": p}
            for name, p in zip(row.classes, row.probabilities, strict=True)
        ],
    }
    if row.set is not None:
        content["set"] = list(row.set)
    if row.abstain is not None:
        content["abstain"] = row.abstain
    return content


def without_infinities(outputs: Outputs, names: Names) -> tuple[np.ndarray, Names]:
    """Tell which images of a batch have finite outputs; the others become errors."""
    is_finite = np.isfinite(outputs).all(axis=1)
    places: Iterable[int] = [k for k in range(len(names.files)) if k not in names.errors]
    errors = {
        place: NOT_FINITE for place, finite in zip(places, is_finite, strict=True) if not finite
    }
    return is_finite, Names(names.files, names.errors | errors)
