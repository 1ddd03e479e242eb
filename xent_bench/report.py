"""xent-report: finished runs as a table in the terminal, in Markdown or in CSV."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from xent_bench.tables import FORMS, Table, print_csv

if TYPE_CHECKING:
    from xent_bench.comparison import Comparison, Row


class Column(NamedTuple):
    """A metric under a heading of two lines; in units of `scale`, with so many decimals."""

    above: str
    below: str
    key: str
    scale: float
    decimals: int


MARKS = {
    "over-confident": "↑",
    "under-confident": "↓",
    "mixed": "↕",
    "within noise": " ",
    "undecided": "?",
}
ERROR = "test_se/top1"
COLUMNS = (
    Column("top-1", "%", "test/top1", 100, 1),
    Column("top-5", "%", "test/top5", 100, 1),
    Column("NLL", "raw", "test/nll", 1, 3),
    Column("NLL", "scaled", "test_ts/nll", 1, 3),
    Column("Brier", "raw", "test/brier", 1, 3),
    Column("Brier", "scaled", "test_ts/brier", 1, 3),
    Column("ECE %", "raw", "test/ece", 100, 1),
    Column("ECE %", "scaled", "test_ts/ece", 100, 1),
)


def main() -> None:
    """The console script."""
    options = _parser().parse_args()
    try:
        report(options.folder, options.format, options.picture)
    except BrokenPipeError:  # xent-report | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ValueError as error:
        print(f"xent-report: {error}", file=sys.stderr)
        sys.exit(3)


def report(folder: Path, form: str, picture: Path | None = None) -> None:
    """Print the comparison of the runs in a folder, in a form of FORMS or as csv."""
    from xent_bench.comparison import compare, flat
    from xent_bench.runs import load_runs, load_unfinished

    comparisons = compare(load_runs(folder))
    if picture is not None:
        from xent_bench.plots import draw  # matplotlib takes a second

        try:
            draw(comparisons, picture)
        except OSError as error:
            raise ValueError(f"cannot write {picture}: {error}") from error
    if form == "csv":  # every metric in full precision, with the half-width of its interval
        print_csv([record for comparison in comparisons for record in flat(comparison)])
    else:
        for comparison in comparisons:
            FORMS[form](table_of(comparison))
    missing = load_unfinished(folder)
    if missing:
        names = ", ".join(each.name for each in missing[:3]) + ", ..." * (len(missing) > 3)
        print(
            f"Not in the table: {len(missing)} diverged, killed or still running: {names}",
            file=sys.stderr,
        )


def table_of(comparison: "Comparison") -> Table:
    """One row a loss."""
    headings = ["loss", "n", *(f"{column.above}\n{column.below}" for column in COLUMNS)]
    rows = [
        [row.label, str(row.n), *(_cell(row, column) for column in COLUMNS)]
        for row in comparison.rows
    ]
    title = f"{comparison.experiment}: {comparison.data}, {comparison.model}"
    return Table(title, headings, rows, _notes(comparison))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xent-report",
        description="Compare finished runs: one row a loss, mean ± 95 % interval over seeds.",
        epilog="Exit codes: 0 done, 2 bad usage, 3 no runs or unreadable ones.",
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path("runs"), help="where the runs are (runs)"
    )
    parser.add_argument(
        "--format",
        choices=[*FORMS, "csv"],
        default="table",
        help="table for the terminal (default)",
    )
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="also draw it, as png, svg, pdf"
    )
    return parser


def _cell(row: "Row", column: Column) -> str:
    found = row.estimates.get(column.key)
    if found is None:
        return "-"
    prefix, _, metric = column.key.partition("/")
    mark = MARKS[row.verdicts.get(prefix, "undecided")] if metric == "ece" else ""
    mean = f"{column.scale * found.mean:.{column.decimals}f}"
    if found.half_width is None:
        return f"{mean}{mark}"
    return f"{mean}±{column.scale * found.half_width:.{column.decimals}f}{mark}"


def _notes(comparison: "Comparison") -> list[str]:
    """What a reader must know to read the table rightly."""
    notes = [_control(comparison)]
    if any(row.n > 1 for row in comparison.rows):
        notes.append(
            "±: 95 % interval, Student's t over n seeds; overlap is no proof of a tie. "
            + _other_images(comparison)
        )
    if any(row.n == 1 for row in comparison.rows):
        notes.append("n = 1: no interval over seeds; xent-rescore RUN has that over test images.")
    notes.append(f"scaled: {_maps(comparison)}, T fitted on calib. Rows by scaled NLL.")
    notes.append(
        "ECE: ↑ over-confident, ↓ under-confident, ↕ both in turn, in most runs; ? no majority; "
        "unmarked: not to be told from a calibrated net with so many images."
    )
    unscored = [row.label for row in comparison.rows if "test/nll" not in row.estimates]
    if unscored:
        notes.append(f"-: the raw scores of {', '.join(unscored)} are no probabilities.")
    infinite = [row.label for row in comparison.rows if _is_infinite(row)]
    if infinite:
        notes.append(f"inf: {', '.join(infinite)} gave the true class of some image probability 0.")
    bound = [f"{row.label} ({row.at_bound} of {row.n})" for row in comparison.rows if row.at_bound]
    if bound:
        notes.append(
            f"Calib leaves the temperature open for {', '.join(bound)}, as where no answer is "
            "wrong: it is fitted as if one more were."
        )
    return [*notes, comparison.provenance]


def _other_images(comparison: "Comparison") -> str:
    """What other test images would change, where the runs know."""
    errors = [row.estimates[key].mean for row in comparison.rows if (key := ERROR) in row.estimates]
    if not errors:
        return ""
    return f"All on the same images: others would move top-1 by about ±{196 * max(errors):.1f}."


def _maps(comparison: "Comparison") -> str:
    """What temperature scaling does, and with which losses something else."""
    maps: dict[str, list[str]] = {}
    for row in comparison.rows:
        maps.setdefault(row.scaled_map, []).append(row.label)
    most = max(maps, key=lambda each: len(maps[each]))
    others = [f"{each} for {', '.join(maps[each])}" for each in maps if each != most]
    return ", ".join([most, *others])


def _is_infinite(row: "Row") -> bool:
    return "test/nll" in row.estimates and row.estimates["test/nll"].mean == float("inf")


def _control(comparison: "Comparison") -> str:
    equal, pairs = comparison.control
    if not pairs:
        return "A/A control: no pair of ce and sparse_ce among these runs."
    if equal == pairs:
        return (
            "A/A control: ce and sparse_ce, one loss in two label formats, ended with the same "
            f"weights, bit for bit, in {equal} of {pairs} pairs."
        )
    return (
        f"A/A control FAILED: ce and sparse_ce ended with the same weights in only {equal} of "
        f"{pairs} pairs: this hardware or code is not deterministic, and differences between "
        "losses include that noise."
    )
