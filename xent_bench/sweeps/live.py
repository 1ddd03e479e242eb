"""How far the running runs of a sweep are: lines that change on a terminal, else one a minute."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from xent_bench.runs.pace import Pace, duration, load_pace
from xent_bench.sweeps.lines import Tally, say

SAID = 60.0  # seconds between two lines where there is no terminal
FIRST_SAID = 10.0  # seconds before the first of them
REFRESH = 0.5  # seconds, on a terminal


class ShownRun(NamedTuple):
    """A running run."""

    name: str
    folder: Path
    start: float  # of the clock
    tries: int

    def pace(self) -> Pace | None:
        """None of what was written before it was started."""
        found = load_pace(self.folder)
        return found if found is not None and found.time >= self.start else None

    def words(self) -> str:
        """Where it is."""
        retry = f", retry {self.tries - 1}" if self.tries > 1 else ""
        return f"{self.pace() or 'starting'}{retry}"


Show: TypeAlias = Callable[[Sequence[ShownRun], int, Tally], None]


@contextmanager
def live_display() -> Iterator[Show]:
    """What is to be called with the running runs, how many wait, and the tally, now and then."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_a_minute()
        return
    # no thread of its own: whoever calls us does so often enough
    same = sys.stdout.isatty()
    with Live(console=console, auto_refresh=False, transient=True, redirect_stdout=same) as live:
        drawn = 0.0

        def show(running: Sequence[ShownRun], waiting: int, tally: Tally) -> None:
            nonlocal drawn
            if time.monotonic() - drawn > REFRESH:
                drawn = time.monotonic()
                live.update(_drawn(running, waiting, tally), refresh=True)

        yield show


def _line_a_minute() -> Show:
    to_say = time.monotonic() + FIRST_SAID

    def show(running: Sequence[ShownRun], waiting: int, tally: Tally) -> None:
        nonlocal to_say
        if running and time.monotonic() > to_say:
            to_say = time.monotonic() + SAID
            each = "; ".join(f"{run.name} {run.words()}" for run in running)
            say(f"{_whole(running, waiting, tally)}. Running: {each}")

    return show


def _whole(running: Sequence[ShownRun], waiting: int, tally: Tally) -> str:
    failed = f", {len(tally.codes)} failed" if tally.codes else ""
    waits = f", {waiting} waiting" if waiting else ""
    left = tally.time_left(_underway(running))
    ends = f", {duration(left)} left" if left is not None else ""
    done = tally.ended - len(tally.codes)
    return f"{done}/{tally.total} done{failed}, {len(running)} running{waits}{ends}"


def _underway(running: Sequence[ShownRun]) -> float:
    paces = [run.pace() for run in running]
    return sum(pace.epoch / pace.epochs for pace in paces if pace is not None)


def _drawn(running: Sequence[ShownRun], waiting: int, tally: Tally) -> Group:
    table = Table.grid(padding=(0, 1))
    for run in running:
        pace = run.pace()
        done, total = (pace.epoch, pace.epochs) if pace else (0.0, 1)
        bar = ProgressBar(total=total, completed=done, width=30)
        table.add_row(Text(f"        {run.name}"), bar, Text(run.words()))
    return Group(table, Text(_whole(running, waiting, tally)))
