"""The best run at or below a place: the one to predict with, to export or to load.

Scores on val choose it, and nothing of test: a net that was chosen for its score on test would be
worse on new images than that score says.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, TypeAlias

from xent_bench.comparison.compare import search_by
from xent_bench.comparison.confirmed import with_fresh_apart
from xent_bench.comparison.setting import (
    Setting,
    in_order_of_numbers,
    name_of,
    setting_of,
)
from xent_bench.comparison.trials import Trial, seed_of, trials_of
from xent_bench.comparison.tuning import choose, mean_cost, sign_of
from xent_bench.failures import DataError
from xent_bench.runs.begun import load_unfinished
from xent_bench.runs.files import NET, RESULT, no_folder, run_folders
from xent_bench.runs.result import Run, load_run, load_runs

SECOND = "val/nll"  # breaks a tie of the metric that chooses; after it the name of the loss
NAMED = 3  # settings that a refusal names

Order: TypeAlias = tuple[float, float, str]


class Best(NamedTuple):
    """The best run of a setting, and how it was chosen."""

    run: Run
    members: list[Run]  # finished runs of its loss and hyper-parameters, over the seeds, by seed
    label: str  # of the loss with its hyper-parameters
    choose_by: str  # the metric on val that chose
    losses: int  # among which it was chosen, each with its best hyper-parameters
    equals: Sequence[str] = ()  # of these those with the same mean of that metric

    @property
    def folder(self) -> Path:
        """The folder of the best run."""
        assert self.run.folder is not None  # it was read from one
        return self.run.folder

    @property
    def reason(self) -> str:
        """A sentence that says why this run is the best."""
        seeds = len(self.members)
        mean = fmean(run.metrics[self.choose_by] for run in self.members)
        if seeds == 1:
            how = f"{self.choose_by} {mean:.4g}, one seed"
        else:
            how = f"mean {self.choose_by} {mean:.4g} over {seeds} seeds"
        rank = f"the best of {self.losses} losses" if self.losses > 1 else "the only loss"
        if self.equals:
            has, comes = ("has", "comes") if len(self.equals) == 1 else ("have", "come")
            rank = f"one of the {len(self.equals) + 1} best of {self.losses} losses"
            how += (
                f"; {', '.join(self.equals)} {has} the same, and {comes} after it by {SECOND} or "
            )
            how += "by name"
        sentence = f"{self.label} is {rank} on val ({how})"
        if seeds > 1:
            score = self.run.metrics[self.choose_by]
            equal = sum(run.metrics[self.choose_by] == score for run in self.members)
            place = "the best" if equal == 1 else f"one of the {equal} best"
            sentence += f", and seed {seed_of(self.run)} {place} of its seeds ({score:.4g})"
        return f"{sentence}; test chose nothing: {self.folder}"


def best_run(place: Path) -> Path:
    """The folder of the best run at or below a place; the place itself if it is a run's folder.

    Of the finished runs the loss, with its hyper-parameters, whose mean on val over its seeds is
    best; of its seeds the one that is best on val. The metric is the `search_by` of the runs'
    design, else val/top1. DataError if no run below the place has finished, or if the runs belong
    to several settings, which are then named.
    """
    return chosen_run(place)[0]


def chosen_run(place: Path) -> tuple[Path, str]:
    """The folder of `best_run`, and a sentence that says why it was chosen.

    The sentence is empty for a place that is a run's folder. DataError as `best_run`.
    """
    if is_run(place):
        return place, ""
    best = best_of(place)
    return best.folder, best.reason


def is_run(place: Path) -> bool:
    """Whether a place is the folder of a run that has finished, or of a net copied from one."""
    return (place / NET).is_file() or (place / RESULT).is_file()


def best_of(place: Path) -> Best:
    """The best of the finished runs below a place. DataError as `best_run`."""
    return _best(_of_one_setting(place))


def seeds_of(folder: Path) -> list[Run]:
    """The finished runs beside a run's folder that differ from it in the seed alone, with itself.

    In the order of their seeds. DataError if the folder has no result.
    """
    this = load_run(folder / RESULT)
    places = [other / RESULT for other in run_folders(folder.resolve().parent, RESULT)]
    runs = [load_run(file) for file in places if file.parent != folder.resolve()]
    alike = [run for run in runs if _but_for_seed(run) == _but_for_seed(this)]
    by_seed = {seed_of(run): run for run in [*alike, this]}  # this one, if a seed has two
    return [by_seed[seed] for seed in sorted(by_seed)]


def _but_for_seed(run: Run) -> tuple[object, ...]:
    params = {key: str(value) for key, value in run.params.items() if key != "seed"}
    return run.experiment, params, run.tags.get("data_sha256", "")


def _of_one_setting(place: Path) -> list[Run]:
    if not place.is_dir():
        raise DataError(f"expected a run's folder or one above it, got {place}: {no_folder(place)}")
    if not run_folders(place, RESULT):
        raise DataError(f"expected a finished run at or below {place}, {_begun(place)}")
    try:
        runs = load_runs(place)  # refuses a run that is there twice: its seed would count twice
    except ValueError as error:
        raise DataError(str(error)) from None
    groups: dict[Setting, list[Run]] = {}
    for run in runs:
        groups.setdefault(setting_of(run), []).append(run)
    if len(groups) > 1:
        raise DataError(_several(place, groups))
    return runs


def _begun(place: Path) -> str:
    """Say which runs without a result a place has, and the command that goes on with one."""
    unfinished = load_unfinished(place)
    if not unfinished:
        return "found none"
    first = unfinished[0]
    if len(unfinished) == 1:
        return f"the run in it has not finished ({first.reason}): {first.command}"
    others = f"{len(unfinished)} that have not finished"
    return f"found {others}, such as {first.name} ({first.reason}): {first.command}"


def _several(place: Path, groups: Mapping[Setting, Sequence[Run]]) -> str:
    """The refusal of a place with runs of several settings: what they are, and what to name."""
    settings = sorted(groups, key=in_order_of_numbers)
    names = []
    for setting in settings[:NAMED]:
        first = groups[setting][0].folder
        names.append(f"{name_of(setting, settings)} (experiment {setting[0]}, such as {first})")
    more = f"; and {len(settings) - NAMED} more" if len(settings) > NAMED else ""
    return (
        f"{place} has runs of {len(settings)} settings, among which val cannot choose: "
        f"{'; '.join(names)}{more}; expected the folder of one of them, or of one run"
    )


def _best(runs: Sequence[Run]) -> Best:
    by = search_by(runs)
    lacking = next((run for run in runs if by not in run.metrics), None)
    if lacking is not None:
        raise DataError(f"cannot choose by {by}, which {lacking.folder} lacks; name one run")
    trials = with_fresh_apart(trials_of(runs, [], by), by)
    chosen = [choice.trial for choice in choose(trials, by).values()]
    trial = min(chosen, key=lambda trial: _order(trial, by))
    members = sorted([*trial.runs, *trial.fresh_runs], key=seed_of)
    # a run whose val/nll is not known is no better by it
    best = min(members, key=lambda run: (_cost(run, by), _cost(run, SECOND), seed_of(run)))
    mean = _order(trial, by)[0]
    equals = [
        other.label for other in chosen if other is not trial and _order(other, by)[0] == mean
    ]
    return Best(best, members, trial.label, by, len(chosen), equals)


def _order(trial: Trial, by: str) -> Order:
    return mean_cost(trial, trial.seeds, by), mean_cost(trial, trial.seeds, SECOND), trial.label


def _cost(run: Run, key: str) -> float:
    return sign_of(key) * run.metrics[key] if key in run.metrics else math.inf
