"""Rows as they are written: as a table in a terminal, as CSV, or as an object of JSON a line."""

import csv
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

from xent_bench.prediction.rows import Row, Wanted, cells, columns, record
from xent_bench.tables import Table, joined, print_table

SHOWN = 30  # rows of a terminal
ALIKE = 3  # rows of a terminal that have the same error
SHOWN_CLASSES = 5  # of a set in a terminal
NUMBER = re.compile(r"\d+")  # errors that differ in numbers alone, as in sizes, are of one kind


class Writer(Protocol):
    """A receiver of rows, batch by batch."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take the rows of a batch."""

    def finish(self) -> None:
        """End, after the last batch."""


@contextmanager
def csv_writer(place: str, wanted: Wanted) -> Iterator[Writer]:
    """A writer of CSV to a file, which appears whole at the end, or to the output for '-'.

    After an error or a signal to end there is no file; one that was there before stays.
    """
    if place == "-":
        yield CsvWriter(sys.stdout, wanted)
        return
    file = Path(place)
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("w", encoding="utf-8", errors="backslashreplace", newline="") as opened:
            yield CsvWriter(opened, wanted)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


class CsvWriter:
    """Rows in CSV under a line with the names of the columns."""

    def __init__(self, stream: TextIO, wanted: Wanted) -> None:
        """Write the names of the columns."""
        self.stream, self.wanted = stream, wanted
        self.writer = csv.writer(stream, lineterminator="\n")
        self.writer.writerow(columns(wanted))

    def write(self, rows: Sequence[Row]) -> None:
        """Write and flush the rows: whoever reads a pipe has them at once."""
        self.writer.writerows(cells(row, self.wanted) for row in rows)
        self.stream.flush()

    def finish(self) -> None:
        """Nothing is left to write."""


class JsonWriter:
    """One object of JSON a line on the output, so that it can be read while it is written."""

    def write(self, rows: Sequence[Row]) -> None:
        """Write and flush the rows."""
        for row in rows:
            print(json.dumps(record(row)))
        sys.stdout.flush()

    def finish(self) -> None:
        """Nothing is left to write."""


class TableWriter:
    """The first rows in a table, few of those that failed alike, and how many there are in all."""

    def __init__(self, wanted: Wanted) -> None:
        """Prepare to keep the first rows."""
        self.wanted = wanted
        self.rows: list[Row] = []
        self.n = 0
        # rows with an error that are not shown, by the kind of it, and all of that kind
        self.hidden: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.first: dict[str, str] = {}  # the first file with each kind

    def write(self, rows: Sequence[Row]) -> None:
        """Keep the rows that are shown, and count the others."""
        self.n += len(rows)
        for row in rows:
            kind = NUMBER.sub("0", row.error or "")
            self.failed[kind] += bool(kind)
            if len(self.rows) < SHOWN and self.failed[kind] <= ALIKE:
                self.rows.append(row)
            elif kind:
                self.hidden[kind] += 1
            self.first.setdefault(kind, row.file)

    def finish(self) -> None:
        """Print the table."""
        if not self.rows:
            return
        more = self.n - len(self.rows)
        alike = [
            f"{count:,} failed as {self.first[kind]} did"
            if count < self.failed[kind]
            else f"{count:,} failed, as {self.first[kind]}"
            for kind, count in self.hidden.items()
            if self.failed[kind] > ALIKE
        ]
        which = f", of which {joined(alike)}" if alike else ""
        notes = [f"and {more:,} more{which}: --csv FILE has them all"] if more else []
        print_table(table_of(self.rows, self.wanted, notes))


def table_of(rows: Sequence[Row], wanted: Wanted, notes: Sequence[str]) -> Table:
    """The rows as a table."""
    has_errors = any(row.error for row in rows)
    headings = ["file", "class", "p"]
    headings += ["next classes"] * (wanted.top > 1)
    headings += ["set"] * (wanted.conformal is not None)
    headings += ["abstain"] * (wanted.least_confidence is not None)
    headings += ["error"] * has_errors
    body = [_shown(row, wanted, has_errors=has_errors) for row in rows]
    return Table("Predictions", headings, body, notes, text=len(headings))


def _shown(row: Row, wanted: Wanted, *, has_errors: bool) -> list[str]:
    pairs = list(zip(row.classes, row.probabilities, strict=True))
    shown: list[str] = [row.file]
    shown += [pairs[0][0], _probability(pairs[0][1])] if pairs else ["", ""]
    if wanted.top > 1:
        shown.append(", ".join(f"{name} {_probability(p)}" for name, p in pairs[1:]))
    if wanted.conformal is not None:
        members = list(row.set or ())
        more = len(members) - SHOWN_CLASSES
        shown.append(", ".join(members[:SHOWN_CLASSES]) + (f" and {more} more" if more > 0 else ""))
    if wanted.least_confidence is not None:
        shown.append("yes" if row.abstain else "")
    if has_errors:
        shown.append(row.error)
    return shown


def _probability(p: float) -> str:
    """A probability in four digits, of which none claims certainty that is not there."""
    if 0.99995 <= p < 1:
        return ">0.9999"
    return "<0.0001" if 0 < p < 0.00005 else f"{p:.4f}"


def say(lines: Sequence[Any], *, to_error: bool) -> None:
    """Print sentences below a table, or to stderr where the output is data."""
    if not to_error:
        from xent_bench.tables import print_text

        print_text(lines)
        return
    for line in lines:
        print(line, file=sys.stderr)
