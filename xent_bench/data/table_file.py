"""A table in a file (CSV, TSV or Parquet) as columns of text, and the numbers of its rows."""

import codecs
import csv
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from xent_bench.data.image_files import shown
from xent_bench.failures import DataError

SEPARATED = (".csv", ".tsv", ".txt")
PARQUET = (".parquet", ".pq")
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
DELIMITERS = ",;\t|"
WRONG = 3  # wrong rows that a refusal names
# encodings by the bytes that a file begins with
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class TextTable:
    """Columns of text by their names; values of other types are written out, missing ones are ''.

    `numbers` are what a person calls the rows: lines of a text, of which the first holds the names,
    or rows of a Parquet file, from 1. `ragged` are rows with another number of cells, left out.
    `merged` is the number of rows that were counted into others. A list is written as Python does.
    """

    file: Path
    columns: dict[str, list[str]]
    numbers: list[int]
    unit: str  # line or row
    ragged: list[tuple[int, str]]
    merged: int = 0
    lists: frozenset[str] = frozenset()  # columns that hold lists


def refuse_rows(table: TextTable, wrong: Mapping[int, str], hint: str = "") -> None:
    """DataError that counts the wrong rows, and names some by their numbers, if there are any.

    A hint on all of them stands at the end.
    """
    if not wrong:
        return
    numbers = sorted(wrong)
    examples = "; ".join(f"{table.unit} {number}: {wrong[number]}" for number in numbers[:WRONG])
    others = f"; and {len(numbers) - WRONG:,} more" if len(numbers) > WRONG else ""
    total = len(table.numbers) + len(table.ragged) + table.merged
    raise DataError(
        f"cannot use {len(numbers):,} of {total:,} rows of {shown(table.file)}: {examples}{others}"
        + (f"; {hint}" if hint else "")
    )


def read_table(file: Path) -> TextTable:
    """Read a table. DataError for other files, and for texts that are not in UTF-8 or UTF-16."""
    ending = file.suffix.lower()
    if ending in SPREADSHEETS:
        raise DataError(
            f"cannot read the spreadsheet {shown(file)}: save it as CSV (in Excel: Save As, CSV "
            "UTF-8), and give that file as data.root"
        )
    if ending not in SEPARATED + PARQUET:
        raise DataError(f"expected a table {' '.join(SEPARATED + PARQUET)}, got {shown(file)}")
    try:
        table = _parquet(file) if ending in PARQUET else _separated(file)
    except OSError as error:
        raise DataError(f"cannot read {shown(file)}: {error.strerror or error}") from error
    if not table.numbers and not table.ragged:
        raise DataError(f"expected rows in {shown(file)}, got none")
    return table


def _separated(file: Path) -> TextTable:
    rows = csv.reader(StringIO(_text(file), newline=""), delimiter=_delimiter(file))
    kept: list[list[str]] = []
    numbers: list[int] = []
    ragged = []
    try:
        header = [name.strip() for name in next(rows, [])]
        _check_header(header, file)
        before = rows.line_num
        for row in rows:
            number, before = before + 1, rows.line_num
            if len(row) == len(header):
                kept.append(row)
                numbers.append(number)
            elif any(cell.strip() for cell in row):  # an empty line is no row
                ragged.append((number, f"{len(row)} cells, and {len(header)} columns"))
    except csv.Error as error:
        raise DataError(f"cannot read {shown(file)}: line {rows.line_num}: {error}") from error
    cells = zip(*kept, strict=True) if kept else ([] for _ in header)
    columns = {
        name: [cell.strip() for cell in column] for name, column in zip(header, cells, strict=True)
    }
    return TextTable(file, columns, numbers, "line", ragged)


def _text(file: Path) -> str:
    content = file.read_bytes()
    encoding = next((name for mark, name in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"expected {shown(file)} in UTF-8, line {line} is not: save it as UTF-8 (in Excel: CSV "
            "UTF-8)"
        ) from error
    if "\0" in text:
        raise DataError(f"expected text in {shown(file)}, got bytes that are none")
    return text


def _delimiter(file: Path) -> str:
    """The delimiter that the first line holds most often; a tab for .tsv."""
    if file.suffix.lower() == ".tsv":
        return "\t"
    first = _text(file).partition("\n")[0]
    return max(DELIMITERS, key=lambda char: (first.count(char), char == ","))


def _check_header(header: list[str], file: Path) -> None:
    name, count = Counter(header).most_common(1)[0] if header else ("", 0)
    if count > 1:
        called = f"{shown(name)} {count} times" if name else f"{count} without a name"
        raise DataError(f"expected different names of columns in {shown(file)}, got {called}")


def _parquet(file: Path) -> TextTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file).read()
    except (pa.ArrowException, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"cannot read {shown(file)}: {reason}") from error
    _check_header(table.column_names, file)
    columns = {name: _texts(table[name]) for name in table.column_names}
    lists = frozenset(field.name for field in table.schema if pa.types.is_nested(field.type))
    return TextTable(file, columns, list(range(1, table.num_rows + 1)), "row", [], lists=lists)


def _texts(column: Any) -> list[str]:
    return [_written(value) for value in column.to_pylist()]


def _written(value: Any) -> str:
    """A value as text; a float that is whole, as pandas makes of integers, without its point."""
    if value is None or value != value:  # NaN
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()
