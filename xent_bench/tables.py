"""Tables and paragraphs, printed for a terminal, in Markdown, in LaTeX or in CSV."""

import csv
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from shutil import get_terminal_size
from typing import Any, NamedTuple, TextIO

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
    | {symbol: f"${symbol}$" for symbol in "<>|"}  # in text the usual fonts print others for them
    | {
        "−": "$-$",
        "×": r"$\times$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "↕": r"$\updownarrow$",
        "→": r"$\to$",
    }
)


WIDTH = 100  # of a table that is written to a file
COMMAND = "xent-"  # the beginning of a line that can be typed
NARROWEST = 40  # columns of a terminal; a narrower one wraps the lines
NAME_WIDTH = 9  # of a column of names at least; longer ones are folded


class Best(str):
    """A cell that holds one of the best values of its column."""

    __slots__ = ()


class Table(NamedTuple):
    """A table with its cells as text; a heading may have two lines, and notes follow the table.

    The first `text` columns hold words and are aligned left, the others numbers, aligned right.
    `brief` are the notes for a reader who knows the table; None: they are `notes`.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    text: int = 1
    brief: Sequence[str] | None = None

    def in_brief(self) -> "Table":
        """The table with its brief notes alone."""
        return self if self.brief is None else self._replace(notes=self.brief)


def print_table(table: Table) -> None:
    """Print a table in a terminal; the columns that do not fit beside the others follow below.

    Numbers are never cut or wrapped, and each part has the columns of words.
    """
    from rich import box
    from rich.table import Table as Drawn

    print_heading(table.title)
    console = _console()
    is_whole = _has_whole_names(table, console.width)
    for columns in _parts(table, console.width) if table.rows else ():
        drawn = Drawn(box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
        for place in columns:
            heading = table.headings[place]
            if place < table.text:
                no_wrap = is_whole and place == 0
                drawn.add_column(heading, overflow="fold", min_width=NAME_WIDTH, no_wrap=no_wrap)
            else:
                drawn.add_column(heading, justify="right", no_wrap=True)
        starred = [any(isinstance(row[place], Best) for row in table.rows) for place in columns]
        for row in table.rows:
            drawn.add_row(*map(_cell, (row[place] for place in columns), starred))
        console.print(drawn)
    print_text(table.notes)


def _parts(table: Table, width: int) -> list[list[int]]:
    """The columns of each part, when a table is split to fit a terminal of this width."""
    columns = list(zip(table.headings, *table.rows, strict=True))
    words, numbers = list(range(table.text)), range(table.text, len(columns))
    # names are folded at half of the terminal, and never below NAME_WIDTH
    name_width = sum(max(NAME_WIDTH, _width(columns[place])) for place in words)
    edges = 1  # both edges of the table are blank, and one gap has been counted too many
    left = width - edges - max(NAME_WIDTH * table.text, min(name_width, width // 2))
    parts: list[list[int]] = [[]]
    used = 0
    for place in numbers:
        used += _width(columns[place])
        if used > left and parts[-1]:
            parts.append([])
            used = _width(columns[place])
        parts[-1].append(place)
    return [words + part for part in parts]


def _has_whole_names(table: Table, width: int) -> bool:
    """Whether the first column fits unfolded, with the other columns of words wrapped beside it."""
    others = table.text - 1
    room = width // 2 - 1 - others * (1 + NAME_WIDTH)
    return others > 0 and all(len(row[0]) <= room for row in table.rows)


def _width(column: Sequence[str]) -> int:
    """The width of a column that is not wrapped, with a star and the gap before it."""
    starred = any(isinstance(cell, Best) for cell in column)
    return 1 + starred + max(len(line) for cell in column for line in cell.split("\n"))


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
    """Print paragraphs in a terminal, wrapped at the width of the tables.

    A paragraph that is a command stays one line, so that it can be copied.
    """
    for paragraph in paragraphs:
        _console().print(paragraph, soft_wrap=paragraph.startswith(COMMAND))


def print_names(descriptions: Mapping[str, str], width: int) -> None:
    """Print names in a column of this width, and a few words beside each, in a terminal."""
    from rich.table import Table as Drawn

    grid = Drawn.grid(padding=(0, 2))
    grid.add_column(min_width=width, no_wrap=True)
    for name, words in descriptions.items():
        grid.add_row(f"  {name}", words)
    _console().print(grid)


def _console() -> Any:
    from rich.console import Console

    # rich itself takes a terminal that calls itself dumb for 80 columns wide
    columns = get_terminal_size().columns
    width = max(NARROWEST, columns) if sys.stdout.isatty() else WIDTH
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
    """Print paragraphs in Markdown, in which a star at the beginning would be a list's."""
    print("\n\n".join(re.sub(r"^\* ", r"\\* ", text) for text in paragraphs) + "\n")


def print_latex_text(paragraphs: Sequence[str]) -> None:
    """Print paragraphs in LaTeX."""
    print("\n\n".join(paragraph.translate(LATEX) for paragraph in paragraphs) + "\n")


def _latex_cell(cell: str) -> str:
    shown = cell.strip().translate(LATEX)
    return f"\\textbf{{{shown}}}" if isinstance(cell, Best) else shown


def print_csv(records: Sequence[dict[str, Any]], file: TextIO | None = None) -> None:
    """Print records in CSV, with every column that any record has; without `file` to stdout."""
    columns = list(dict.fromkeys(column for record in records for column in record))
    writer = csv.DictWriter(file or sys.stdout, columns)
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


def joined(words: Sequence[str]) -> str:
    """'a', 'a and b' or 'a, b and c'."""
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def n_runs(n: int) -> str:
    """'1 run' or 'n runs'."""
    return "1 run" if n == 1 else f"{n} runs"
