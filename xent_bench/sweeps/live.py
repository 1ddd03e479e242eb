"""Progress of the running runs: lines that change on a terminal, elsewhere one line a minute."""

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

from xent_bench.runs.pace import Pace, load_pace, silence
from xent_bench.sweeps.lines import Tally, say

LINE_EVERY = 60.0  # seconds between two lines where there is no terminal
FIRST_LINE = 10.0  # seconds before the first of them
REFRESH = 0.5  # seconds, on a terminal


class ShownRun(NamedTuple):
    """Runs that train, one or several as one, as they are displayed in a line."""

    name: str
    folders: tuple[Path, ...]
    start: float  # by time.time()
    tries: int

    def pace(self) -> Pace | None:
        """How far the runs are; None while the last note of it is from an earlier start."""
        paces = [pace for folder in self.folders if (pace := load_pace(folder)) is not None]
        newest = max(paces, key=lambda pace: pace.time, default=None)
        return newest if newest is not None and newest.time >= self.start else None

    def words(self) -> str:
        """How far the runs are, in words, which retry it is, and since when they are silent.

        The time left is not among them: one such number is displayed, that of the whole sweep.
        """
        retry = f", retry {self.tries - 1}" if self.tries > 1 else ""
        pace = self.pace()
        # a SLURM job's start is not known
        silent = silence(pace.time if pace else self.start) if pace or self.start else ""
        return f"{pace.position() if pace else 'starting'}{retry}{silent}"


Show: TypeAlias = Callable[[Sequence[ShownRun], int, Tally], None]


@contextmanager
def live_display() -> Iterator[Show]:
    """Yield the function that shows the running runs, the number that wait, and the tally."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_a_minute()
        return
    # auto_refresh is a thread, which nothing needs: the function is called several times a second
    same_terminal = sys.stdout.isatty()
    with Live(
        console=console, auto_refresh=False, transient=True, redirect_stdout=same_terminal
    ) as live:
        drawn = 0.0

        def show(running: Sequence[ShownRun], waiting: int, tally: Tally) -> None:
            nonlocal drawn
            if time.monotonic() - drawn > REFRESH:
                drawn = time.monotonic()
                live.update(_table(running, waiting, tally), refresh=True)

        yield show


def _line_a_minute() -> Show:
    next_line = time.monotonic() + FIRST_LINE

    def show(running: Sequence[ShownRun], waiting: int, tally: Tally) -> None:
        nonlocal next_line
        if running and time.monotonic() > next_line:
            next_line = time.monotonic() + LINE_EVERY
            runs = "; ".join(f"{run.name} {run.words()}" for run in running)
            say(f"{_summary(running, waiting, tally)}. Running: {runs}")

    return show


def _summary(running: Sequence[ShownRun], waiting: int, tally: Tally) -> str:
    failed = f", {len(tally.codes)} failed" if tally.codes else ""
    queued = f", {waiting} waiting" if waiting else ""
    left = tally.words_of_left(_seconds_left(running, waiting, tally))
    done = tally.ended - len(tally.codes)
    runs = sum(len(run.folders) for run in running)
    return f"{done}/{tally.total}{tally.unit} done{failed}, {runs} running{queued}{left}"


def _seconds_left(running: Sequence[ShownRun], waiting: int, tally: Tally) -> float | None:
    """Seconds until the sweep is done, None while unknown.

    Where no run waits, the last of the running ones ends it, and each of these knows its own pace:
    that of the tally has the start of the command in it, half of the time of a short sweep.
    """
    paces = [pace for run in running if (pace := run.pace()) is not None]
    lefts = [pace.left for pace in paces if pace.left is not None]
    if waiting or len(lefts) < len(running):
        return tally.time_left(underway(running))
    return max(lefts, default=0) or None  # 0 while they are scored, which has no measure


def underway(running: Sequence[ShownRun]) -> float:
    """The part of the running runs that is done, in runs."""
    paces = [(len(run.folders), run.pace()) for run in running]
    return sum(runs * pace.epoch / pace.epochs for runs, pace in paces if pace is not None)


def _table(running: Sequence[ShownRun], waiting: int, tally: Tally) -> Group:
    table = Table.grid(padding=(0, 1))
    for run in running:
        pace = run.pace()
        done, total = (pace.epoch, pace.epochs) if pace else (0.0, 1)
        bar = ProgressBar(total=total, completed=done, width=30)
        table.add_row(Text(f"        {run.name}"), bar, Text(run.words()))
    return Group(table, Text(_summary(running, waiting, tally)))
