"""A table with a row for each vote (image, annotator, label) as one with a row for each image."""

from collections import Counter
from dataclasses import replace
from typing import Any

from xent_bench.data.image_checks import can_be_written
from xent_bench.data.image_files import shown
from xent_bench.data.table_columns import Columns, in_order
from xent_bench.data.table_file import TextTable, refuse_rows
from xent_bench.failures import DataError

OF_IMAGE = ("split", "group", "weight", "attribute")  # the same in all rows of an image


def counted(table: TextTable, columns: Columns) -> tuple[TextTable, Columns]:
    """Count the votes: a column for each class in place of the labels, in the order of images.

    An image is where its path is first; its number is that of the row. DataError for rows without
    a label, for a second vote of an annotator on an image, and where the rows of an image do not
    agree in its split, group, weight or attribute. An empty annotator is nobody in particular.
    """
    label, annotator = columns.label, columns.annotator
    if label is None or annotator is None:
        raise DataError(
            f"expected one column of labels in {shown(table.file)}, where data.annotator says that "
            "each row is a vote; data.label=NAME names it"
        )
    paths, labels = table.columns[columns.path], table.columns[label]
    first: dict[str, int] = {}
    for row, path in enumerate(paths):
        first.setdefault(path, row)
    refuse_rows(table, dict(table.ragged) | _wrong(table, columns, first))
    classes = in_order(set(labels))
    votes = Counter(zip(paths, labels, strict=True))
    kept = [*first.values()]
    # names that no class has: a class may be called as a column is
    by_image = {
        f"\0{name}": [table.columns[column][row] for row in kept]
        for name in ("path", *OF_IMAGE)
        if (column := getattr(columns, name)) is not None
    }
    by_class = {name: [str(votes[path, name]) for path in first] for name in classes}
    renamed: dict[str, Any] = {
        name: f"\0{name}" for name in ("path", *OF_IMAGE) if f"\0{name}" in by_image
    }
    images = replace(
        table,
        columns=by_image | by_class,
        numbers=[table.numbers[row] for row in kept],
        merged=len(paths) - len(kept),
    )
    return images, columns._replace(label=None, votes=classes, **renamed)


def _wrong(table: TextTable, columns: Columns, first: dict[str, int]) -> dict[int, str]:
    """The complaint about each wrong row, by its number."""
    wrong: dict[int, str] = {}
    voted: dict[tuple[str, str], int] = {}
    paths, labels = table.columns[columns.path], table.columns[str(columns.label)]
    annotators = table.columns[str(columns.annotator)]
    same = [(name, column) for name in OF_IMAGE if (column := getattr(columns, name)) is not None]
    for row, (path, label, annotator) in enumerate(zip(paths, labels, annotators, strict=True)):
        number = table.numbers[row]
        if not label or not can_be_written(label):
            wrong[number] = f"expected a label, got {shown(label) or 'none'}"
        before = voted.setdefault((path, annotator), row) if annotator else row
        if before != row:
            there = f"{table.unit} {table.numbers[before]}"
            wrong[number] = f"{shown(annotator)} has voted on {shown(path)} in {there} too"
        for name, column in same:
            if table.columns[column][row] != table.columns[column][first[path]]:
                there = f"{table.unit} {table.numbers[first[path]]}"
                wrong[number] = f"{shown(path)} has another {name} in {there}"
    return wrong
