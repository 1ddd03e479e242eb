"""Runs side by side: which of them make a row, what the row says, and what to know beside it.

All of it is computed here; nothing is printed.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from xent_bench.comparison.contrasts import (
    Contrast,
    Field,
    Flip,
    Leaders,
    contrasts,
    flips,
    leaders,
)
from xent_bench.comparison.control import Control, control_of
from xent_bench.comparison.setting import (
    Setting,
    identity_of,
    in_order_of_numbers,
    name_of,
    setting_of,
)
from xent_bench.comparison.stats import Estimate, choice_widening, estimate
from xent_bench.comparison.still_falling import still_falling
from xent_bench.comparison.trials import Missing, Trial, missing, trials_of
from xent_bench.comparison.trust import READINGS, trust
from xent_bench.comparison.tuning import Choice, at_edge, budget, choose, confounded, unequal
from xent_bench.comparison.yardsticks import CHOOSE_BY, PRIMARY, YARDSTICKS, Yardstick, by_key
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.result import Run

BASELINE = "ce"


class Options(NamedTuple):
    """What a reader may want otherwise."""

    baseline: str | None = None  # ce where it is
    yardsticks: tuple[Yardstick, ...] = YARDSTICKS
    choose_by: str = CHOOSE_BY
    rank_anyway: bool = False
    primary: str = PRIMARY


class Row(NamedTuple):
    """One loss as tuned, over its seeds."""

    choice: Choice
    estimates: dict[str, Estimate]
    scaled_map: str

    @property
    def label(self) -> str:
        """The loss."""
        return self.trial.loss

    @property
    def trial(self) -> Trial:
        """The trial that all seeds together choose."""
        return self.choice.trial

    @property
    def runs(self) -> list[Run]:
        """Finished runs, one a seed: of the trial that the other seeds choose."""
        return self.choice.runs

    @property
    def trials(self) -> int:
        """Number of trials that the loss was chosen from."""
        return max(1, len(self.choice.candidates))

    @property
    def n(self) -> int:
        """Seeds that finished."""
        return len(self.runs)

    @property
    def seconds(self) -> float | None:
        """Mean of a whole run; None without one."""
        return fmean(run.seconds for run in self.runs) if self.n else None

    @property
    def examples_per_second(self) -> float | None:
        """Mean over the runs that know it; None without one."""
        speeds = [run.examples_per_second for run in self.runs]
        known = [speed for speed in speeds if speed is not None]
        return fmean(known) if known else None

    @property
    def at_bound(self) -> int:
        """How many of these runs had no best temperature within the bounds."""
        bound = self.estimates.get("test_ts/temperature_at_bound")
        return round(self.n * bound.mean) if bound else 0


class Comparison(NamedTuple):
    """The runs of one experiment in one setting: data, net, epochs, batch size and the like."""

    experiment: str
    setting: str  # data and model, with what else tells it from others
    options: Options
    rows: list[Row]
    trials: list[Trial]
    unfair: str  # why losses cannot be ranked fairly; nothing if they can
    unranked: str  # the same, unless they are ranked all the same
    contrasts: list[Contrast]
    leaders: dict[str, Leaders]  # by yardstick
    trust: dict[str, dict[str, str]]  # verdicts on calibration, by reading and loss
    falling: dict[str, float]  # losses whose val/nll still fell when training ended, by how much
    flips: list[Flip]
    missing: list[Missing]
    at_edge: list[str]  # tuned values that are the smallest or largest tried
    unfinished: list[Unfinished]
    confounded: list[str]  # what differs between losses beside the loss and its own parameters
    control: Control
    runs: list[Run]

    @property
    def baseline(self) -> str | None:
        """The label of its row; None where it has none."""
        return _baseline(self.rows, self.options)

    @property
    def is_tuned(self) -> bool:
        """Whether a loss had a choice of hyper-parameters."""
        return any(row.trials > 1 for row in self.rows)


def compare(
    runs: Sequence[Run], unfinished: Sequence[Unfinished] = (), options: Options | None = None
) -> list[Comparison]:
    """A comparison for each experiment and setting, losses in the order of the primary metric.

    A ValueError if the baseline is in none of them, or if a trial cannot be chosen.
    """
    options = options or Options()
    groups: dict[Setting, list[Run]] = {}
    for run in sorted(runs, key=identity_of):
        groups.setdefault(setting_of(run), []).append(run)
    known = {setting[:-1] for setting in groups}
    ended = sorted((run for run in unfinished if "loss" in run.params), key=identity_of)
    for other in ended:  # settings of which no run finished
        if setting_of(other)[:-1] not in known:
            groups.setdefault(setting_of(other), [])
    found = []
    for setting in sorted(groups, key=in_order_of_numbers):
        others = [run for run in ended if setting_of(run)[:-1] == setting[:-1]]
        found.append(_comparison(setting, list(groups), groups[setting], others, options))
    losses = dict.fromkeys(trial.loss for each in found for trial in each.trials)
    if options.baseline is not None and options.baseline not in losses:
        raise ValueError(f"--baseline: expected one of {', '.join(losses)}, got {options.baseline}")
    return found


def _comparison(
    setting: Setting,
    settings: list[Setting],
    runs: list[Run],
    unfinished: list[Unfinished],
    options: Options,
) -> Comparison:
    trials = trials_of(runs, unfinished, options.choose_by)
    choices = choose(trials, options.choose_by)
    rows = [_row(choice) for choice in choices.values()]
    tuned_over = budget(trials, choices)
    differing = confounded(tuned_over)
    chosen = {loss: choice for loss, choice in choices.items() if len(choice.candidates) > 1}
    candidates = {id(trial) for choice in chosen.values() for trial in choice.candidates}
    tried = [trial for trial in trials if id(trial) in candidates or trial.has_diverged]
    unfair = "; ".join(filter(None, [unequal(tuned_over), *differing]))
    unranked = "" if options.rank_anyway else unfair
    rows.sort(key=lambda row: row.label if unranked else _order(row, options))
    ranked = {} if unranked else {row.label: row.runs for row in rows if row.n}
    field = Field(ranked, max(row.trials for row in rows))
    baseline = _baseline(rows, options)
    yardsticks = by_key(options.yardsticks)
    against = contrasts(field, baseline, options.yardsticks, options.primary) if baseline else []
    twins = {contrast.label for contrast in against if contrast.same}
    finished = {row.label: row.runs for row in rows if row.n and row.label not in twins}
    distinct = {label: group for label, group in ranked.items() if label not in twins}
    return Comparison(
        setting[0],
        name_of(setting, settings),
        options,
        rows,
        trials,
        unfair,
        unranked,
        against,
        {key: leaders(field, by) for key, by in yardsticks.items()},
        {reading: trust(finished, reading) for reading in READINGS},
        _falling(finished),
        flips(field._replace(runs=distinct), yardsticks["test/nll"], yardsticks["test_ts/nll"]),
        missing(trials),
        at_edge(tried, {loss: choice.trial for loss, choice in chosen.items()}),
        unfinished,
        differing,
        control_of(runs),
        runs,
    )


def _falling(runs: Mapping[str, Sequence[Run]]) -> dict[str, float]:
    falls = {
        label: still_falling([run.metrics for run in group], len(runs))
        for label, group in runs.items()
    }
    return {label: fall for label, fall in falls.items() if fall is not None}


def _baseline(rows: Sequence[Row], options: Options) -> str | None:
    wanted = options.baseline or BASELINE
    return next((row.label for row in rows if row.label == wanted and row.n), None)


def _order(row: Row, options: Options) -> tuple[float, str]:
    by = by_key(options.yardsticks)[options.primary]
    estimated = row.estimates.get(by.key)
    return (-by.better * estimated.mean if estimated else float("inf")), row.label


def _row(choice: Choice) -> Row:
    runs = choice.runs
    first = runs[0].metrics if runs else ()
    keys = [key for key in first if all(key in run.metrics for run in runs)]
    widening = choice_widening(len(runs), len(choice.candidates))
    estimates = {
        key: estimate([run.metrics[key] for run in runs], widening=widening) for key in keys
    }
    maps = [run.tags["scaled_map"] for run in runs if "scaled_map" in run.tags]
    return Row(choice, estimates, (maps or ["softmax(z / T)"])[0])
