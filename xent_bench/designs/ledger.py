"""The runs that a design asks for, and how those that it asked for before have ended."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from xent_bench.runs.files import RESULT, has_result
from xent_bench.runs.lacking import has_ended
from xent_bench.runs.result import Run, load_run
from xent_bench.runs.val_at import has_epoch, val_at

Overrides: TypeAlias = tuple[str, ...]  # of one run, as they would be typed


class Outcome(NamedTuple):
    """The folder of a run of the sweep, and whether its training failed in this command."""

    folder: Path
    failed: bool


class Ledger:
    """Collects the runs that are asked for, and answers how they ended.

    A design is a function of the results on the disk: asked again, after a kill or by the same
    command on another day, it asks for the same runs.
    """

    def __init__(self, outcome_of: Callable[[Overrides], Outcome | None]) -> None:
        """`outcome_of` finds the outcome of a run; None for a run that was never asked for."""
        self.outcome_of = outcome_of
        self.results: dict[Path, Run] = {}  # by their folder, of the runs that were read
        self.asked: dict[Overrides, int | None] = {}  # epoch after which to pause; None: never
        self.about = ""  # the setting of which news tell, where there are several
        self.news: list[str] = []  # sentences on what was decided
        self.further: list[str] = []  # what may follow when all that is asked for has ended

    def ask(self, run: Overrides, pause_after: int | None = None) -> None:
        """Ask for a run, up to an epoch or whole; a later request replaces an earlier one."""
        self.asked[run] = pause_after

    def tell(self, *sentences: str) -> None:
        """Keep sentences on what was decided, in this setting."""
        self.news += map(self._placed, sentences)

    def foresee(self, sentence: str) -> None:
        """Keep a sentence on what may follow in this setting."""
        self.further.append(self._placed(sentence))

    def _placed(self, sentence: str) -> str:
        return f"{self.about}: {sentence}" if self.about else sentence

    def failed(self, run: Overrides) -> bool:
        """Whether the run ended without a result."""
        outcome = self.outcome_of(run)
        return outcome is not None and outcome.failed

    def result(self, run: Overrides) -> Run | None:
        """The finished run; None while it has no result."""
        outcome = self.outcome_of(run)
        if outcome is None or not has_result(outcome.folder):
            return None
        if outcome.folder not in self.results:
            self.results[outcome.folder] = load_run(outcome.folder / RESULT)
        return self.results[outcome.folder]

    def val(self, run: Overrides, epoch: int, metric: str) -> float | None:
        """The run's score on val after an epoch; None if it was trained for fewer, or has none."""
        outcome = self.outcome_of(run)
        return None if outcome is None else val_at(outcome.folder, epoch, metric)

    def has_reached(self, run: Overrides, epoch: int) -> bool:
        """Whether the run has a score after this epoch, has ended before it, or has failed."""
        outcome = self.outcome_of(run)
        if outcome is None:
            return False
        return (
            outcome.failed or has_ended(outcome.folder, epoch) or has_epoch(outcome.folder, epoch)
        )

    def has_ended(self, run: Overrides) -> bool:
        """Whether the run has a result or has failed."""
        return self.failed(run) or self.result(run) is not None
