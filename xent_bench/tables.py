"""A table in the terminal, in Markdown or in CSV."""

import csv
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

BAR = r"\|"  # one that is no border of a cell


class Table(NamedTuple):
    """Cells as they are shown; a heading may have two lines. The first `text` columns are words."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    text: int = 1


def print_table(table: Table) -> None:
    """For a terminal, of at least 100 columns."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    # a narrower terminal wraps the lines itself: here columns would be cut
    width = max(100, Console().width) if sys.stdout.isatty() else 100
    console = Console(width=width, highlight=False, markup=False)
    console.print(f"\n{table.title}", style="bold")
    drawn = Drawn(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for place, heading in enumerate(table.headings):
        if place < table.text:
            drawn.add_column(heading, overflow="fold", min_width=9)
        else:
            drawn.add_column(heading, justify="right", no_wrap=True)  # numbers are never cut
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))  # brackets are no markup
    console.print(drawn)
    for note in table.notes:
        console.print(note)


def print_markdown(table: Table) -> None:
    """For a README or an issue."""
    print(f"**{table.title}**\n")
    headings = [each.replace("-\n", "").replace("\n", " ") for each in table.headings]
    print(f"| {' | '.join(headings)} |")
    numbers = len(table.headings) - table.text
    print("|" + "---|" * table.text + "--:|" * numbers)
    for row in table.rows:
        print(f"| {' | '.join(cell.strip().replace('|', BAR) for cell in row)} |")
    print()
    print("\n\n".join(table.notes))
    print()


def print_csv(records: Sequence[dict[str, Any]]) -> None:
    """With every column that a record has."""
    columns = list(dict.fromkeys(column for record in records for column in record))
    writer = csv.DictWriter(sys.stdout, columns)
    writer.writeheader()
    writer.writerows(records)


FORMS = {"table": print_table, "markdown": print_markdown}
