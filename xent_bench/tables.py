"""Tables and paragraphs, printed for a terminal, in Markdown, in LaTeX or in CSV."""

import csv
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

BAR = r"\|"  # an escaped bar: Markdown takes a plain one for the border of a cell
LATEX = str.maketrans(
    {symbol: f"\\{symbol}" for symbol in "#$%&_{}"}
    | {
        "\\": r"\textbackslash{}",
        "^": r"\^{}",
        "~": r"\~{}",
        "±": r"$\pm$",
        "∞": r"$\infty$",
        "≈": r"$\approx$",
    }
    | {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "↕": r"$\updownarrow$", "→": r"$\to$"}
)


NAME_WIDTH = 9  # of a column of names at least; longer ones are folded


class Best(str):
    """A cell that holds one of the best values of its column."""

    __slots__ = ()


class Table(NamedTuple):
    """A table with its cells as text; a heading may have two lines, and notes follow the table.

    The first `text` columns hold words and are aligned left, the others numbers, aligned right.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    text: int = 1


def print_table(table: Table) -> None:
    """Print a table for a terminal that is at least 100 columns wide."""
    from rich import box
    from rich.table import Table as Drawn

    print_heading(table.title)
    drawn = Drawn(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    for place, heading in enumerate(table.headings):
        if place < table.text:
            drawn.add_column(heading, overflow="fold", min_width=NAME_WIDTH)
        else:
            drawn.add_column(heading, justify="right", no_wrap=True)  # numbers are never cut
    starred = [
        any(isinstance(row[i], Best) for row in table.rows) for i in range(len(table.headings))
    ]
    for row in table.rows:
        drawn.add_row(*map(_cell, row, starred))
    console = _console()
    cells = [row[table.text :] for row in (table.headings, *table.rows)]
    # a line that a narrow terminal wraps can be read; a table without its first column cannot
    needed = NAME_WIDTH * table.text + sum(map(_number_width, zip(*cells, strict=True)))
    console.width = max(console.width, needed)
    console.print(drawn)
    print_text(table.notes)


def _number_width(column: Sequence[str]) -> int:
    """The width of a column that is never cut, with a star and the gaps beside it."""
    return 3 + max(len(line) for cell in column for line in cell.split("\n"))


def _cell(cell: str, starred: bool) -> Any:
    """The cell, bold and with a star if it is a best one: a file that is written to shows no bold.

    In a column with a star (`starred`) the other cells end in a space, so that digits align.
    """
    from rich.text import Text

    if isinstance(cell, Best):
        return Text(f"{cell.rstrip()}*", "bold")
    return Text(f"{cell} " if starred else cell)


def print_heading(title: str) -> None:
    """Print the heading of a table or a paragraph in a terminal."""
    _console().print(f"\n{title}", style="bold")


def print_text(paragraphs: Sequence[str]) -> None:
    """Print paragraphs in a terminal, wrapped at the width of the tables."""
    for paragraph in paragraphs:
        _console().print(paragraph)


def _console() -> Any:
    from rich.console import Console

    # at least 100: a narrower terminal then wraps the lines, where rich would cut columns
    width = max(100, Console().width) if sys.stdout.isatty() else 100
    return Console(width=width, highlight=False, markup=False)  # rich would read brackets as markup


def print_markdown(table: Table) -> None:
    """Print a table in Markdown, for a README or an issue."""
    if table.title:
        print(f"**{table.title}**\n")
    print(f"| {' | '.join(map(_on_one_line, table.headings))} |")
    numbers = len(table.headings) - table.text
    print("|" + "---|" * table.text + "--:|" * numbers)
    for row in table.rows:
        print(f"| {' | '.join(map(_markdown_cell, row))} |")
    print()
    print("\n\n".join(table.notes))
    print()


def _on_one_line(heading: str) -> str:
    return heading.replace("-\n", "").replace("\n", " ")


def _markdown_cell(cell: str) -> str:
    shown = cell.strip().replace("|", BAR)
    return f"**{shown}**" if isinstance(cell, Best) else shown


def print_latex(table: Table) -> None:
    """Print a table in LaTeX, for a paper; it needs the package booktabs."""
    numbers = len(table.headings) - table.text
    print("\\begin{table}\n\\centering\n\\small")
    print(f"\\begin{{tabular}}{{{'l' * table.text}{'r' * numbers}}}\n\\toprule")
    print(
        " & ".join(_on_one_line(heading).translate(LATEX) for heading in table.headings),
        "\\\\\n\\midrule",
    )
    for row in table.rows:
        print(" & ".join(map(_latex_cell, row)), "\\\\")
    print("\\bottomrule\n\\end{tabular}")
    caption = " ".join([f"{table.title}.", *table.notes]) if table.title else " ".join(table.notes)
    print(f"\\caption{{{caption.translate(LATEX)}}}\n\\end{{table}}\n")


def print_paragraphs(paragraphs: Sequence[str]) -> None:
    """Print paragraphs in Markdown."""
    print("\n\n".join(paragraphs) + "\n")


def print_latex_text(paragraphs: Sequence[str]) -> None:
    """Print paragraphs in LaTeX."""
    print_paragraphs([paragraph.translate(LATEX) for paragraph in paragraphs])


def _latex_cell(cell: str) -> str:
    shown = cell.strip().translate(LATEX)
    return f"\\textbf{{{shown}}}" if isinstance(cell, Best) else shown


def print_csv(records: Sequence[dict[str, Any]]) -> None:
    """Print records in CSV, with every column that any record has."""
    columns = list(dict.fromkeys(column for record in records for column in record))
    writer = csv.DictWriter(sys.stdout, columns)
    writer.writeheader()
    writer.writerows(records)


FORMS: dict[str, Callable[[Table], None]] = {
    "table": print_table,
    "markdown": print_markdown,
    "latex": print_latex,
}
TEXT: dict[str, Callable[[Sequence[str]], None]] = {
    "table": print_text,
    "markdown": print_paragraphs,
    "latex": print_latex_text,
}


def n_runs(n: int) -> str:
    """'1 run' or 'n runs'."""
    return "1 run" if n == 1 else f"{n} runs"
