"""Trials (a loss with its hyper-parameters, over seeds), and the cells of a sweep without a run."""

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import NamedTuple, TypeAlias

from xent_bench.comparison.stats import Estimate, estimate
from xent_bench.runs.begun import Unfinished, is_paused
from xent_bench.runs.design import design_of
from xent_bench.runs.result import Run
from xent_bench.runs.start import CONDITIONS

# Config groups and keys that make up the setting. Runs that differ in one of them, or in a
# parameter below it, belong to different comparisons. All other parameters may be tuned.
SETTING = (
    *("data", "model", "schedule", "augmentation"),
    *CONDITIONS,
    *("epochs", "batch_size", "accumulate", "precision", "choose", "choose_by", "patience"),
)

POINTS = 4  # trials, from which on values that never recur are points and no grid

Natural: TypeAlias = tuple[bool, float, str]  # sort key, see `natural`


class Trial(NamedTuple):
    """A loss with one choice of hyper-parameters, and its runs over seeds."""

    loss: str
    varied: dict[str, str]  # values of the hyper-parameters that differ between trials, by key
    runs: list[Run]  # finished runs, one for each seed
    unfinished: list[Unfinished]
    score: Estimate | None  # on val, over the finished runs; None if one of them lacks the metric
    # runs with seeds that the search lacked, which choose nothing: see comparison/confirmed.py
    fresh: Sequence[Run | Unfinished] = ()

    @property
    def label(self) -> str:
        """Name of the loss and its varied hyper-parameters: 'focal gamma=2 lr=0.1'."""
        return " ".join(filter(None, [self.loss, self.hyper]))

    @property
    def hyper(self) -> str:
        """Varied hyper-parameters as 'lr=0.1'; whole keys if two keys end with the same word."""
        short = [key.rpartition(".")[2] for key in self.varied]
        names = short if len(set(short)) == len(short) else list(self.varied)
        return " ".join(map("=".join, zip(names, self.varied.values(), strict=True)))

    @property
    def searched_runs(self) -> list[Run | Unfinished]:
        """Runs with the seeds of the search, finished runs first."""
        return [*self.runs, *self.unfinished]

    @property
    def all_runs(self) -> list[Run | Unfinished]:
        """Every run, also those without a result and those with fresh seeds."""
        return [*self.searched_runs, *self.fresh]

    @property
    def begun(self) -> int:
        """Number of runs that were begun, finished or not."""
        return len(self.runs) + len(self.unfinished)

    @property
    def seeds(self) -> set[int]:
        """Seeds with a finished run."""
        return set(map(seed_of, self.runs))

    @property
    def unfinished_seeds(self) -> set[int]:
        """Seeds with a run that was begun and has no result."""
        return set(map(seed_of, self.unfinished))

    @property
    def has_diverged(self) -> bool:
        """Whether the training of a run stopped because its loss became infinite or NaN."""
        return any(run.reason.startswith("Diverged") for run in self.unfinished)

    @property
    def is_paused(self) -> bool:
        """Whether a run was paused, as successive halving leaves the trials that go no further."""
        return any(map(is_paused, self.unfinished))

    @property
    def is_drawn(self) -> bool:
        """Whether the point was drawn by a search, not listed by its user."""
        return any(design_of(run.tags).is_search for run in self.searched_runs)

    @property
    def fresh_runs(self) -> list[Run]:
        """Finished runs with seeds that the search did not have."""
        return [run for run in self.fresh if isinstance(run, Run)]

    @property
    def shared(self) -> dict[str, str]:
        """Varied hyper-parameters that every loss has, such as optimizer.lr."""
        return {key: value for key, value in self.varied.items() if not key.startswith("loss.")}


class EmptyCell(NamedTuple):
    """A cell of the sweep's grid (trial and seed) in which no run was begun."""

    label: str  # of the trial
    seed: str
    command: str  # that would train the run


def natural(text: str) -> Natural:
    """Sort key of a text: numbers come first, by size (2 before 10), then words."""
    value = number(text)
    return value is None, value or 0.0, text


def number(text: str | None) -> float | None:
    """The number that a text represents; None if it is not a number."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def seed_of(run: Run | Unfinished) -> int:
    """The seed with which a run was trained."""
    return int(run.params["seed"])


def is_hyper(key: str) -> bool:
    """Whether a run's parameter is a hyper-parameter that may be tuned."""
    return key not in ("loss", "seed") and key.partition(".")[0] not in SETTING


def trials_of(runs: Sequence[Run], unfinished: Sequence[Unfinished], choose_by: str) -> list[Trial]:
    """Group the runs of one setting, finished or not, into trials: runs that differ only in seed.

    `choose_by` is the metric on val that becomes `Trial.score`. ValueError where two finished runs
    of a trial have one seed: they would count as two seeds.
    """
    everything: list[Run | Unfinished] = [*runs, *unfinished]
    varying = _varying(everything)
    groups: dict[tuple[str, ...], tuple[list[Run], list[Unfinished]]] = {}
    for run in everything:
        varied = _varied(run, varying)
        group = groups.setdefault((run.params["loss"], *map("=".join, varied.items())), ([], []))
        if isinstance(run, Run):
            group[0].append(run)
        else:
            group[1].append(run)
    trials = []
    for finished, others in groups.values():
        _refuse_seed_twice(finished)
        first: Run | Unfinished = finished[0] if finished else others[0]
        score = mean_score(finished, choose_by)
        trials.append(Trial(first.params["loss"], _varied(first, varying), finished, others, score))
    return trials


def _refuse_seed_twice(runs: Sequence[Run]) -> None:
    """Raise a ValueError where two finished runs of a trial have one seed.

    A default in their code differs: it counts in a run's key, and is no parameter that it records.
    """
    for seed, count in Counter(map(seed_of, runs)).most_common(1):
        if count > 1:
            twins = [str(r.folder or r.tags.get("key")) for r in runs if seed_of(r) == seed]
            raise ValueError(
                f"expected each seed once, got {count} runs of seed {seed} with equal parameters: "
                f"{' and '.join(twins)}; a default in the code differs, so keep one of them there"
            )


def by_loss(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """Group trials by their loss, in their order."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.loss, []).append(trial)
    return groups


def shared_seeds(trials: Sequence[Trial]) -> set[int]:
    """The seeds with which every one of these trials has a finished run; none without a trial."""
    return set.intersection(*(trial.seeds for trial in trials)) if trials else set()


def mean_score(runs: Sequence[Run], key: str) -> Estimate | None:
    """Mean of a metric over runs, with its interval; None without runs or if one lacks it."""
    scores = [run.metrics[key] for run in runs if key in run.metrics]
    return estimate(scores) if runs and len(scores) == len(runs) else None


def empty_cells(trials: Sequence[Trial]) -> list[EmptyCell]:
    """Find the cells of the grid of losses, hyper-parameters and seeds in which no run was begun.

    Hyper-parameter values that only one of several losses tried are not part of the grid. Where a
    loss tried points and no grid, its cells are its points with the seeds of the search, and its
    chosen trial with the fresh seeds.
    """
    losses = list(dict.fromkeys(trial.loss for trial in trials))
    confirmed = {trial.loss for trial in trials if trial.fresh}
    searched = [trial for trial in trials if trial.loss in confirmed] or trials
    seeds = sorted({_seed(run) for trial in searched for run in trial.searched_runs}, key=int)
    tried = dict.fromkeys((tuple(trial.shared.items()), trial.loss) for trial in trials)
    count = Counter(shared for shared, _ in tried)
    grid = [dict(shared) for shared in count if count[shared] > 1 or len(losses) == 1]
    cells = []
    for loss in losses:
        of_loss = [trial for trial in trials if trial.loss == loss]
        begun = {
            (frozenset(t.varied.items()), _seed(run)) for t in of_loss for run in t.searched_runs
        }
        for varied, seed in product(_points(of_loss, grid), seeds):
            if (frozenset(varied.items()), seed) not in begun:
                cells.append(_empty(of_loss[0], varied, seed))
    return cells + _without_fresh(trials)


def _points(of_loss: Sequence[Trial], grid: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """The hyper-parameters of a loss's cells: its points, or its own values on the shared grid.

    They are points if none of several values recurs: a drawn point has values of its own.
    """
    insides = _unique(map(_inside, of_loss))
    shared = _unique(trial.shared for trial in of_loss)
    if len(of_loss) >= POINTS and len(of_loss) == len(insides) == len(shared):
        return [trial.varied for trial in of_loss]
    return [values | inside for inside, values in product(insides, grid)]


def _without_fresh(trials: Sequence[Trial]) -> list[EmptyCell]:
    """Cells of trials that have some of the fresh seeds and lack others.

    A design that adds seeds until losses are told apart has none: it leaves them out on purpose.
    """
    every = [trial for trial in trials if trial.fresh]
    if any(design_of(run.tags).is_sequential for trial in every for run in trial.fresh):
        return []
    seeds = sorted({_seed(run) for trial in every for run in trial.fresh}, key=int)
    return [
        _empty(trial, trial.varied, seed)
        for trial in every
        for seed in seeds
        if seed not in map(_seed, trial.fresh)
    ]


def _empty(trial: Trial, varied: dict[str, str], seed: str) -> EmptyCell:
    """The cell of a trial's loss with these hyper-parameters, and the command that trains it."""
    label = Trial(trial.loss, varied, [], [], None).label
    return EmptyCell(label, seed, retyped(trial.searched_runs[0].command, varied | {"seed": seed}))


def retyped(command: str, changes: Mapping[str, str]) -> str:
    """Set these keys to these values in a run's command."""
    words = shlex.split(command)
    for key, value in changes.items():
        words = [word for word in words if not word.startswith(f"{key}=")] + [f"{key}={value}"]
    return shlex.join(words)


def _inside(trial: Trial) -> dict[str, str]:
    """Varied parameters of the loss itself, such as loss.gamma."""
    return {key: value for key, value in trial.varied.items() if key.startswith("loss.")}


def _unique(choices: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Drop repeated choices of values; keep the order of the first of each."""
    return [dict(items) for items in dict.fromkeys(tuple(choice.items()) for choice in choices)]


def _seed(run: Run | Unfinished) -> str:
    return str(run.params["seed"])


def _varying(runs: Sequence[Run | Unfinished]) -> dict[str, set[str]]:
    """Keys of the varied hyper-parameters of each loss.

    They are the loss's own parameters (loss.*) that differ between the runs of this loss, and the
    other hyper-parameters that differ between any two runs.
    """
    by_loss: dict[str, list[Run | Unfinished]] = {}
    for run in runs:
        by_loss.setdefault(run.params["loss"], []).append(run)
    shared = {key for key in _differing(runs) if is_hyper(key) and not key.startswith("loss.")}
    return {
        loss: shared | {key for key in _differing(runs_of_loss) if key.startswith("loss.")}
        for loss, runs_of_loss in by_loss.items()
    }


def _differing(runs: Sequence[Run | Unfinished]) -> set[str]:
    """Keys of the parameters that do not have the same value in all runs."""
    keys = {key for run in runs for key in run.params}
    return {key for key in keys if len({str(run.params.get(key)) for run in runs}) > 1}


def _varied(run: Run | Unfinished, varying: Mapping[str, set[str]]) -> dict[str, str]:
    """A run's values of the varied hyper-parameters of its loss."""
    keys = varying[run.params["loss"]]
    return {key: str(value) for key, value in run.params.items() if key in keys}
