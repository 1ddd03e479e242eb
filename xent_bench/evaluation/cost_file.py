"""A table of costs, read from a CSV file: what each answer costs for each true class.

The file has a row for each true class and a column for each answer, all named, in any order, or
none named, in the order of the classes. A column `abstain` may say what it costs to give no answer.
A file with one class and `rest` is about that class against all others.
"""

import csv
import math
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float

from xent_bench.failures import DataError
from xent_bench.printable import printable
from xent_bench.tables import joined

Matrix: TypeAlias = Float[np.ndarray, "true answers"]

ABSTAIN, REST = "abstain", "rest"
MOST_BYTES = 2**28  # 4,000 classes take 80 MB


class Costs(NamedTuple):
    """The costs of the answers to images of each true class."""

    names: tuple[str, ...]  # of the true classes, and of the answers in the same order
    matrix: Matrix  # true classes x answers, of which the last may be to abstain
    positive: int | None = None  # the place of the one class that is told from the rest

    @property
    def may_abstain(self) -> bool:
        """Whether there is a price for no answer."""
        return bool(self.matrix.shape[1] > len(self.names))

    @property
    def span(self) -> float:
        """The most that one answer can cost more than another for the same image."""
        return float((self.matrix.max(axis=1) - self.matrix.min(axis=1)).max())


def read_costs(file: Path, classes: Sequence[str]) -> Costs:
    """Read the table for these classes.

    DataError, in one line with the place, for a file that cannot be read, names that are not the
    classes, a cell that is no finite number, a wrong shape, or a right answer that costs more than
    another.
    """
    rows = _rows(file)
    try:
        costs = _named(rows, classes) if _has_names(rows) else _in_order(rows, classes)
        _check_right_answers(costs)
    except ValueError as error:
        raise DataError(f"{file}: {error}") from None
    return costs


def _rows(file: Path) -> list[list[str]]:
    if not file.is_file():
        raise DataError(f"expected a CSV file with costs: no file {file}")
    if file.stat().st_size > MOST_BYTES:
        raise DataError(f"{file}: expected a CSV file of at most {MOST_BYTES // 2**20} MB")
    try:
        text = file.read_bytes().decode("utf-8-sig")
        rows = [[cell.strip() for cell in row] for row in csv.reader(StringIO(text), strict=True)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file}: expected CSV in UTF-8: {error}") from None
    rows = [row for row in rows if any(row)]
    if not rows:
        raise DataError(f"{file}: expected a table of costs, got an empty file")
    return rows


def _has_names(rows: list[list[str]]) -> bool:
    """Whether the first row holds the names of the answers: its first cell is then no number."""
    try:
        float(rows[0][0])
    except ValueError:
        return True
    return False


def _in_order(rows: list[list[str]], classes: Sequence[str]) -> Costs:
    c = len(classes)
    widths = {len(row) for row in rows}
    if len(rows) != c or not widths <= {c, c + 1} or len(widths) > 1:
        got = f"{len(rows)} rows of {joined([str(width) for width in sorted(widths)])}"
        raise ValueError(
            f"expected {c} rows of {c} costs, or of {c + 1} with that of abstaining last, in the "
            f"order of the classes, got {got} numbers"
        )
    matrix = [
        [_number(cell, f"row {place}") for cell in row] for place, row in enumerate(rows, start=1)
    ]
    return Costs(tuple(classes), np.array(matrix))


def _named(rows: list[list[str]], classes: Sequence[str]) -> Costs:
    answers, body = rows[0][1:], rows[1:]
    trues = [row[0] for row in body]
    names, positive = _names(trues, classes)
    may_abstain = ABSTAIN in answers and ABSTAIN not in names
    wanted = [*names, ABSTAIN] if may_abstain else names
    _check_names("columns", answers, wanted)
    places = [answers.index(name) for name in wanted]
    by_name = {}
    for row in body:
        if len(row) != len(answers) + 1:
            raise ValueError(
                f"row {_quoted(row[0])}: expected {len(answers)} costs, got {len(row) - 1}"
            )
        cells = [
            _number(cell, f"row {_quoted(row[0])}, column {_quoted(answer)}")
            for cell, answer in zip(row[1:], answers, strict=True)
        ]
        by_name[row[0]] = [cells[place] for place in places]
    return Costs(tuple(names), np.array([by_name[name] for name in names]), positive)


def _names(trues: list[str], classes: Sequence[str]) -> tuple[list[str], int | None]:
    """The names of the rows in their order, and the class that is told from the rest, if one is."""
    if len(trues) == 2 and REST in trues and REST not in classes:
        (name,) = [true for true in trues if true != REST] or [REST]
        if name not in classes:
            raise ValueError(f"no class is called {_quoted(name)}: there are {_some(classes)}")
        return [REST, name], list(classes).index(name)
    if len(set(classes)) < len(classes):
        raise ValueError("some classes have the same name: give the costs in order, without names")
    _check_names("rows", trues, classes)
    return list(classes), None


def _check_names(what: str, got: Sequence[str], wanted: Sequence[str]) -> None:
    if doubled := [name for name in dict.fromkeys(got) if got.count(name) > 1]:
        raise ValueError(f"{what}: {_quoted(doubled[0])} is there twice")
    if strange := [name for name in got if name not in set(wanted)]:
        raise ValueError(
            f"{what}: expected the names of the classes, {_some(wanted)}, got {_quoted(strange[0])}"
        )
    if missing := [name for name in wanted if name not in set(got)]:
        raise ValueError(f"{what}: {_quoted(missing[0])} is missing; expected {_some(wanted)}")


def _check_right_answers(costs: Costs) -> None:
    """ValueError if the right answer to an image costs more than another answer."""
    for place, name in enumerate(costs.names):
        row = costs.matrix[place]
        least = int(row.argmin())
        if row[place] > row[least]:
            cheaper = costs.names[least] if least < len(costs.names) else ABSTAIN
            raise ValueError(
                f"true class {_quoted(name)}: the right answer costs {row[place]:g}, more than "
                f"{_quoted(cheaper)} with {row[least]:g}; rows are true classes, columns answers"
            )


def _number(cell: str, where: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{where}: expected a finite number, got {_quoted(cell)}")
    return number


def _quoted(name: str) -> str:
    return repr(printable(name)[:60])


def _some(names: Sequence[str]) -> str:
    """The first names, and how many there are."""
    shown = ", ".join(map(printable, names[:10]))
    return shown if len(names) <= 10 else f"{shown}, ... ({len(names):,} in all)"
