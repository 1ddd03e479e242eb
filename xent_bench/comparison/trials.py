"""Trials: a loss with hyper-parameters, over its seeds; and the cells of a sweep without a run."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple, TypeAlias

from xent_bench.comparison.stats import Estimate, estimate
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run

# What a comparison is about, with the parameters of each: runs that differ here are no trials of
# one another. What is left may be tuned.
SETTING = (
    *("data", "model", "schedule", "augmentation"),
    *("epochs", "batch_size", "accumulate", "precision"),
)


Natural: TypeAlias = tuple[bool, float, str]


class Trial(NamedTuple):
    """A loss with hyper-parameters: those that vary between the trials of a comparison."""

    loss: str
    varied: dict[str, str]
    runs: list[Run]  # finished, one a seed
    unfinished: list[Unfinished]
    score: Estimate | None  # on val, over the finished runs; None where one of them lacks it

    @property
    def label(self) -> str:
        """The loss and its hyper-parameters."""
        return " ".join(filter(None, [self.loss, self.hyper]))

    @property
    def hyper(self) -> str:
        """What varies, by the last word of its key where that tells it from others."""
        short = [key.rpartition(".")[2] for key in self.varied]
        names = short if len(set(short)) == len(short) else list(self.varied)
        return " ".join(map("=".join, zip(names, self.varied.values(), strict=True)))

    @property
    def begun(self) -> int:
        """Runs that were begun, whatever became of them."""
        return len(self.runs) + len(self.unfinished)

    @property
    def seeds(self) -> set[int]:
        """Seeds that finished."""
        return {int(run.params["seed"]) for run in self.runs}

    @property
    def unfinished_seeds(self) -> set[int]:
        """Seeds that were begun and have no result."""
        return {int(run.params["seed"]) for run in self.unfinished}

    @property
    def has_diverged(self) -> bool:
        """Whether training ended by itself for a seed: the loss stopped being a number."""
        return any(run.reason.startswith("Diverged") for run in self.unfinished)

    @property
    def shared(self) -> dict[str, str]:
        """Values of the hyper-parameters that every loss has, such as optimizer.lr."""
        return {key: value for key, value in self.varied.items() if not key.startswith("loss.")}


class Missing(NamedTuple):
    """A cell of the sweep without a run, and what would train it."""

    label: str
    seed: str
    command: str


def natural(text: str) -> Natural:
    """A key to sort by: numbers by their size and before words, so 2 comes before 10."""
    value = number(text)
    return value is None, value or 0.0, text


def number(text: str | None) -> float | None:
    """The number that a text says; None if it says none."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def is_hyper(key: str) -> bool:
    """Whether a parameter is one that a loss may be tuned by."""
    return key not in ("loss", "seed") and key.partition(".")[0] not in SETTING


def trials_of(runs: Sequence[Run], unfinished: Sequence[Unfinished], choose_by: str) -> list[Trial]:
    """Runs that differ in their seed alone, finished or not, together."""
    everything: list[Run | Unfinished] = [*runs, *unfinished]
    varying = _varying(everything)
    cells: dict[tuple[str, ...], tuple[list[Run], list[Unfinished]]] = {}
    for run in everything:
        varied = _varied(run, varying)
        cell = cells.setdefault((run.params["loss"], *map("=".join, varied.items())), ([], []))
        if isinstance(run, Run):
            cell[0].append(run)
        else:
            cell[1].append(run)
    found = []
    for finished, ended in cells.values():
        first: Run | Unfinished = finished[0] if finished else ended[0]
        scores = [run.metrics[choose_by] for run in finished if choose_by in run.metrics]
        score = estimate(scores) if finished and len(scores) == len(finished) else None
        found.append(Trial(first.params["loss"], _varied(first, varying), finished, ended, score))
    return found


def missing(trials: Sequence[Trial]) -> list[Missing]:
    """Cells of the grid of losses, hyper-parameters and seeds in which no run was begun.

    What was tried with one loss alone, of several, is no line of the grid.
    """
    losses = list(dict.fromkeys(trial.loss for trial in trials))
    seeds = sorted({_seed(run) for trial in trials for run in _all(trial)}, key=int)
    tried = dict.fromkeys((tuple(trial.shared.items()), trial.loss) for trial in trials)
    count = Counter(shared for shared, _ in tried)
    grid = [dict(shared) for shared in count if count[shared] > 1 or len(losses) == 1]
    found = []
    for loss in losses:
        own = [trial for trial in trials if trial.loss == loss]
        begun = {(frozenset(t.varied.items()), _seed(run)) for t in own for run in _all(t)}
        for inside, shared, seed in product(_unique(map(_inside, own)), grid, seeds):
            varied = shared | inside
            if (frozenset(varied.items()), seed) not in begun:
                label = Trial(loss, varied, [], [], None).label
                command = retyped(_all(own[0])[0].command, varied | {"seed": seed})
                found.append(Missing(label, seed, command))
    return found


def retyped(command: str, changes: Mapping[str, str]) -> str:
    """A run's command with other values."""
    words = shlex.split(command)
    for key, value in changes.items():
        words = [word for word in words if not word.startswith(f"{key}=")] + [f"{key}={value}"]
    return shlex.join(words)


def _all(trial: Trial) -> list[Run | Unfinished]:
    return [*trial.runs, *trial.unfinished]


def _inside(trial: Trial) -> dict[str, str]:
    return {key: value for key, value in trial.varied.items() if key.startswith("loss.")}


def _unique(found: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return [dict(items) for items in dict.fromkeys(tuple(each.items()) for each in found)]


def _seed(run: Run | Unfinished) -> str:
    return str(run.params["seed"])


def _varying(runs: Sequence[Run | Unfinished]) -> dict[str, set[str]]:
    """By loss: its own parameters that differ between its runs, and all others that differ."""
    by_loss: dict[str, list[Run | Unfinished]] = {}
    for run in runs:
        by_loss.setdefault(run.params["loss"], []).append(run)
    shared = {key for key in _differing(runs) if is_hyper(key) and not key.startswith("loss.")}
    return {
        loss: shared | {key for key in _differing(own) if key.startswith("loss.")}
        for loss, own in by_loss.items()
    }


def _differing(runs: Sequence[Run | Unfinished]) -> set[str]:
    keys = {key for run in runs for key in run.params}
    return {key for key in keys if len({str(run.params.get(key)) for run in runs}) > 1}


def _varied(run: Run | Unfinished, varying: Mapping[str, set[str]]) -> dict[str, str]:
    own = varying[run.params["loss"]]
    return {key: str(value) for key, value in run.params.items() if key in own}
