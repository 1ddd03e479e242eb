"""The runs that have no scores under shift: which these are, and the command that scores them."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.under_shift import corruptions_of
from xent_bench.metrics.shifts import FIFTEEN, PUBLISHED, SEVERITIES
from xent_bench.printable import printable
from xent_bench.runs.result import Run
from xent_bench.runs.sweep_record import load_sweep
from xent_bench.tables import Table, n_runs

MOST = 3  # commands of single runs that are listed
TO_SCORE = "To score the others, which trains nothing:"


def table_of_unscored(comparison: Comparison) -> Table | None:
    """Table of how many runs of each loss were scored, with the reason why no loss is compared.

    It stands where the scores would; None where no run was scored.
    """
    rows = [row for row in comparison.rows if row.n]
    counts = [sum(1 for run in row.runs if corruptions_of(run)) for row in rows]
    if not any(counts):
        return None
    cells = [[row.label, str(row.n), str(n)] for row, n in zip(rows, counts, strict=True)]
    is_whole = any(n == row.n for row, n in zip(rows, counts, strict=True))
    scored = f"{sum(counts)} of {sum(row.n for row in rows)} runs have such scores"
    reason = (
        "No corruption at the same severities is shared by the runs that were scored"
        if is_whole
        else f"{scored}, and no loss has them for all of its seeds"
    )
    notes = [f"Nothing is compared under shift yet. {reason}.", *how_to_score(comparison)]
    return Table("Under shift", ["loss", "runs", "scored"], cells, notes, 1, notes)


def how_to_score(comparison: Comparison) -> list[str]:
    """The command that gives all runs the scores that any of them has, after a line that says so.

    It is that of their sweep where one sweep has them all, else each run's own. Each line is a
    paragraph, so that a command can be copied. Empty if no run lacks a score.
    """
    runs = [run for row in comparison.rows for run in row.runs]
    wanted = set().union(*map(corruptions_of, runs))
    lacking = [run for run in runs if not wanted <= corruptions_of(run)]
    if not lacking:
        return []
    words = _shift_words(wanted, runs)
    if sweep := _sweep_of(lacking):
        return [TO_SCORE, _with_shift(sweep, words)]
    more = len(lacking) - MOST
    listed = [_with_shift(run.command, words) for run in lacking[:MOST]]
    count = [f"and {n_runs(more)} more, with the same words"] if more > 0 else []
    return [TO_SCORE, *listed, *count]


def _shift_words(wanted: set[str], runs: Sequence[Run]) -> list[str]:
    """The words of a command that ask for these corruptions at severities, such as fog/3."""
    names = sorted({condition.partition("/")[0] for condition in wanted})
    severities = sorted({int(condition.partition("/")[2]) for condition in wanted})
    words = ["shift=all" if set(names) == set(FIFTEEN) else f"shift.names=[{','.join(names)}]"]
    if severities != [*SEVERITIES]:
        words.append(f"shift.severities=[{','.join(map(str, severities))}]")
    if any(run.tags.get("shift_images") == PUBLISHED for run in runs):
        typed = (word for run in runs for word in shlex.split(run.command))
        root = (word for word in typed if word.startswith("shift.root="))
        words.append(next(root, "shift.root=FOLDER"))
    return words


def _sweep_of(runs: Sequence[Run]) -> str | None:
    """The command of the sweep that has all of these runs; None where no such sweep is recorded."""
    folders = {run.folder for run in runs}
    (above, *others) = {None if folder is None else folder.parent for folder in folders}
    if above is None or others or (record := load_sweep(above)) is None:
        return None
    recorded = {above / Path(planned.folder).name for planned in record.runs}
    return record.command if folders <= recorded else None


def _with_shift(command: str, words: Sequence[str]) -> str:
    typed = shlex.split(command)
    others = [word for word in typed if not word.startswith(("shift=", "shift."))]
    return printable(shlex.join([*others, *words]))  # the record may be another person's
