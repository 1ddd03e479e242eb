"""Lines on the terminal about a sweep: how each run ended, and how much of the sweep is done."""

import shlex
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

from xent_bench.metrics.reported import PREFIXES
from xent_bench.runs.files import RESULT
from xent_bench.runs.outcome import pause_line
from xent_bench.runs.pace import duration
from xent_bench.runs.start import introduction
from xent_bench.tables import n_runs

LEGEND = "Scores on test: as trained → after temperature scaling."


def say(line: str) -> None:
    """Print a line at once; where nobody can read it, training goes on."""
    with suppress(OSError):  # `xent-train | head`, a full disk, a terminal that was closed
        print(line, flush=True)


def result_line(result: dict[str, Any], calibrator: str) -> str:
    """Scores on test, as trained -> after temperature scaling, and after another calibrator."""
    metrics, prefix = result["metrics"], PREFIXES[calibrator]
    more = ""
    if calibrator != "temperature":
        nll, ece = metrics[f"{prefix}/nll"], 100 * metrics[f"{prefix}/ece"]
        more = f"  {calibrator}: NLL {nll:.3f}  ECE {ece:.2f} %"

    def pair(key: str, factor: float, form: str) -> str:
        raw, scaled = (metrics.get(f"{split}/{key}") for split in ("test", "test_ts"))
        return f"{'-' if raw is None else format(factor * raw, form):>6} →{factor * scaled:{form}}"

    undetermined = bool(metrics["test_ts/temperature_at_bound"])
    return (
        f"top-1 {100 * metrics['test/top1']:6.2f} %  NLL {pair('nll', 1, '6.3f')}"
        f"  ECE {pair('ece', 100, '6.2f')} %  {duration(result['seconds']):>7}"
        f"{'  (calib does not determine T)' * undetermined}{more}"
    )


class Tally:
    """Counts the runs of a sweep as they end, and prints a line for each.

    Where runs pause at rungs, it counts stages: one run, as far as its next pause or its end.
    """

    def __init__(
        self,
        total: int,
        missing: int,
        varied: Collection[str] = (),
        *,
        has_stages: bool = False,
        may_grow: bool = False,
    ) -> None:
        """`total`: runs of the sweep; `missing`: those that were not done when it began.

        `varied` are the keys that have several values in the sweep. `has_stages`: runs pause at
        rungs. `may_grow`: more may be asked for when these have ended.
        """
        self.unit, self.may_grow = " stages" if has_stages else "", may_grow
        self.runs, self.before, self.varied = total, total - missing, varied
        self.to_end = missing  # runs of this round and of those before that this command trains
        self.introduced: set[Path] = set()  # folders whose run has been introduced
        self.data: set[str] = set()  # sets of images that have been introduced
        self.trained = self.completed = 0  # completed: only something beside the training lacked
        self.pauses = 0  # that were asked for
        self.paused: set[str] = set()  # names of runs that have not gone on
        self.codes: list[int] = []  # exit codes of the failed runs
        self.kept = 0  # failed runs with a folder, which says why
        self.start = time.monotonic()
        self.first: tuple[float, float] | None = None  # when steps were first seen, and how many
        # what running runs have done, in runs: those of a group end together, after a long silence
        self.underway: Callable[[], float] = float

    @property
    def total(self) -> int:
        """Runs that have ended when this round is over."""
        return self.before + self.to_end

    @property
    def ended(self) -> int:
        """Runs that are done, are paused as asked, or have failed."""
        return self.before + self._ended_well() + len(self.codes)

    @property
    def was_refused(self) -> bool:
        """Whether every run was refused at its start and left no folder."""
        return len(self.codes) == self.total and not self.kept

    def add_round(self, total: int, missing: int, before: int, *, may_grow: bool = False) -> None:
        """Add the next round of a sweep that now has `total` runs; `before`: done before it."""
        self.runs, self.before, self.may_grow = total, before, may_grow
        self.to_end += missing

    def introduce(self, folder: Path) -> None:
        """Print what a run will do, once its folder tells; once for each set of images."""
        if folder in self.introduced or (lines := introduction(folder, self.varied)) is None:
            return
        self.introduced.add(folder)
        data, text = lines
        if data not in self.data:
            self.data.add(data)
            for line in text:
                say(line)

    def done(self, name: str, outcome: dict[str, Any], calibrator: str, *, trained: bool) -> None:
        """Count a run that has its result or is paused; `trained`: it was trained in this sweep."""
        line = pause_line(outcome)
        if line:
            self.pauses += 1
            self.paused.add(name)
        else:
            line = result_line(outcome, calibrator)
            if not self.trained + self.completed:
                say(LEGEND)
            self.trained += trained
            self.completed += not trained
            self.paused.discard(name)
        self.line(name, f"{line}{self.words_of_left(self.time_left(self.underway()))}")

    def failed(self, name: str, reason: str, code: int, *, kept: bool = True) -> None:
        """Count a run without a result; `kept`: it has a folder, since it was not refused."""
        self.codes.append(code)
        self.paused.discard(name)
        self.kept += kept
        self.line(name, f"FAILED: {reason}")

    def line(self, name: str, text: str) -> None:
        """Print a line about one run, with how many runs or stages have ended."""
        say(f"[{self.ended:2}/{self.total}{self.unit}] {name:14} {text}")

    def words_of_left(self, seconds: float | None) -> str:
        """', 70 s left', or 'at least' so many where more may follow; empty for None."""
        if not seconds:
            return ""
        return f", {'at least ' * self.may_grow}{duration(seconds)} left"

    def time_left(self, underway: float = 0.0) -> float | None:
        """Seconds left, None while unknown. `underway`: what running runs have done, in runs.

        Until a run has ended, the time before its first steps does not count: most of it is the
        start of the command, which does not come again.
        """
        ended, now = self.trained + self.pauses, time.monotonic()
        done, left = ended + underway, self.total - self.ended - underway
        if self.first is None and done > 0:
            self.first = now, done
        start, before = self.first if self.first and not ended else (self.start, 0.0)
        return left / (done - before) * (now - start) if done > before and left > 0 else None

    def say_sum(self, folder: Path, *, unfinished: int = 0) -> None:
        """Print how many runs ended in which way, and what to type next."""
        before = self.before
        counts = {
            "trained": self.trained,
            "completed": self.completed,
            "paused": len(self.paused),
            "done before": before,
            "failed": len(self.codes),
            "to go": unfinished,
        }
        listed = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        say(f"{n_runs(self.runs)}: {listed}; {duration(time.monotonic() - self.start)}")
        if self.kept:
            say(f"What failed, and why: xent-status {shlex.quote(str(folder))}")
        if before + self._ended_well() and not unfinished and any(folder.glob(f"*/{RESULT}")):
            say(f"Compare: xent-report {shlex.quote(str(folder))}")

    def _ended_well(self) -> int:
        return self.trained + self.completed + self.pauses
