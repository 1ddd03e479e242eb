"""The epochs that runs have trained, finished or not, and what each loss's search has cost."""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from xent_bench.comparison.trials import Trial, by_loss
from xent_bench.failures import DataError
from xent_bench.runs.begun import Unfinished, paused_epoch
from xent_bench.runs.curves import load_curves
from xent_bench.runs.files import CURVES
from xent_bench.runs.result import EPOCHS_TRAINED, Run
from xent_bench.runs.val_at import val_at


class State(Enum):
    """How a trial ended, by the run that got least far."""

    FINISHED = "finished"
    PAUSED = "paused"
    DIVERGED = "diverged"
    OPEN = "without a result"  # killed, failed, or still running


class Spent(NamedTuple):
    """The trials, runs and epochs that one loss has cost."""

    loss: str
    trials: dict[State, int]  # number of trials that ended so
    runs: int  # finished or not, those of fresh seeds among them
    fresh: int  # of these, runs with fresh seeds
    epochs: int  # trained by all these runs
    full: float | None  # epochs in whole runs; None if the runs do not tell their length
    untold: int  # runs whose epochs are unknown, and not counted

    @property
    def begun(self) -> int:
        """Number of trials that were begun."""
        return sum(self.trials.values())


def spent_by_loss(trials: Sequence[Trial]) -> list[Spent]:
    """Count trials, runs and epochs of each loss, in the order of the trials."""
    return [_spent(loss, group) for loss, group in by_loss(trials).items()]


def _spent(loss: str, trials: Sequence[Trial]) -> Spent:
    runs = [run for trial in trials for run in trial.all_runs]
    epochs = [epochs_trained(run) for run in runs]
    counted = [number for number in epochs if number is not None]
    lengths = {_whole(run.params.get("epochs")) for run in runs}
    length = lengths.pop() if len(lengths) == 1 else None
    states = Counter(map(state_of, trials))
    return Spent(
        loss,
        {state: states[state] for state in State},
        len(runs),
        sum(len(trial.fresh) for trial in trials),
        sum(counted),
        sum(counted) / length if length else None,
        len(epochs) - len(counted),
    )


def state_of(trial: Trial) -> State:
    """How a trial of the search ended; its fresh seeds do not count."""
    if trial.has_diverged:
        return State.DIVERGED
    if trial.is_paused:
        return State.PAUSED
    return State.OPEN if trial.unfinished else State.FINISHED


def epochs_trained(run: Run | Unfinished) -> int | None:
    """Number of epochs that a run has trained to their end; None if nothing tells it.

    An epoch that was trained twice, because a kill came before its checkpoint, counts once.
    """
    if isinstance(run, Run):  # the tag is there if val could end the training early
        return _whole(run.tags.get(EPOCHS_TRAINED, run.params.get("epochs")))
    paused = paused_epoch(run)
    if paused is not None:
        return paused
    if run.folder is None:  # read from MLflow
        return _whole(run.tags.get(EPOCHS_TRAINED))
    steps = _steps(run)
    return None if steps is None else len(steps)


def last_score(run: Run | Unfinished, key: str) -> float | None:
    """Score of a run on val after the last epoch that it has trained; None if it has none."""
    if isinstance(run, Run) or run.folder is None:
        return run.metrics.get(key)
    epoch = epochs_trained(run)
    try:
        return val_at(run.folder, epoch, key) if epoch else None
    except DataError:
        return None


def _steps(run: Unfinished) -> dict[int, dict[str, float]] | None:
    """The curves of a run without a result, by epoch; None if they cannot be read."""
    if run.folder is None or not (run.folder / CURVES).exists():
        return {}
    try:
        return load_curves(run.folder)
    except DataError:  # the report counts the runs whose epochs are unknown
        return None


def _whole(value: object) -> int | None:
    """A whole number that was read back; None if it is none."""
    text = str(value)
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def total(spent: Iterable[Spent]) -> int:
    """Epochs of all losses together."""
    return sum(loss.epochs for loss in spent)
