"""Runs side by side: which of them make a row, what the row says, and what to know beside it.

Prints nothing.
"""

from collections import Counter
from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from xent_bench.contrasts import Contrast, Flip, Leaders, contrasts, flips, leaders
from xent_bench.control import Control, control_of
from xent_bench.runs import Run, Unfinished
from xent_bench.settings import Setting, identity_of, name_of, setting_of
from xent_bench.stats import Estimate, estimate
from xent_bench.trials import Missing, Trial, missing, trials_of
from xent_bench.tuning import at_edge, choose, confounded, unequal
from xent_bench.yardsticks import CHOOSE_BY, YARDSTICKS, Yardstick, by_key

BASELINE = "ce"
VERDICT = "_verdict"  # ends the name of a tag


class Options(NamedTuple):
    """What a reader may want otherwise."""

    baseline: str | None = None  # ce where it is
    yardsticks: tuple[Yardstick, ...] = YARDSTICKS
    choose_by: str = CHOOSE_BY
    rank_anyway: bool = False


class Row(NamedTuple):
    """One loss, with the hyper-parameters that val chose, over its seeds."""

    trial: Trial
    trials: int
    estimates: dict[str, Estimate]
    verdicts: dict[str, str]  # on the calibration, by prefix: that of most of these runs
    scaled_map: str

    @property
    def label(self) -> str:
        """The loss."""
        return self.trial.loss

    @property
    def n(self) -> int:
        """Seeds that finished."""
        return len(self.trial.runs)

    @property
    def seconds(self) -> float | None:
        """Mean of a whole run; None without one."""
        return fmean(run.seconds for run in self.trial.runs) if self.n else None

    @property
    def examples_per_second(self) -> float | None:
        """Mean over the runs that know it; None without one."""
        found = [run.examples_per_second for run in self.trial.runs]
        known = [speed for speed in found if speed is not None]
        return fmean(known) if known else None

    @property
    def at_bound(self) -> int:
        """How many of these runs had no best temperature within the bounds."""
        bound = self.estimates.get("test_ts/temperature_at_bound")
        return round(self.n * bound.mean) if bound else 0


class Comparison(NamedTuple):
    """The runs of one experiment on one data set with one model."""

    experiment: str
    setting: str  # data and model, with what else tells it from others
    options: Options
    rows: list[Row]
    trials: list[Trial]
    unranked: str  # why losses cannot be ranked fairly; nothing if they can
    contrasts: list[Contrast]
    leaders: dict[str, Leaders]  # by yardstick
    flips: list[Flip]
    missing: list[Missing]
    at_edge: list[str]  # tuned values that are the smallest or largest tried
    unfinished: list[Unfinished]
    confounded: list[str]
    control: Control
    runs: list[Run]

    @property
    def baseline(self) -> str | None:
        """The label of its row; None where it has none."""
        return _baseline(self.rows, self.options)


def compare(
    runs: Sequence[Run], unfinished: Sequence[Unfinished] = (), options: Options | None = None
) -> list[Comparison]:
    """A comparison for each experiment, data set and model, best NLL after scaling first.

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
    for setting in sorted(groups):
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
    chosen = choose(trials, options.choose_by)
    counts = Counter(trial.loss for trial in trials)
    rows = [_row(trial, counts[loss]) for loss, trial in chosen.items()]
    unranked = "" if options.rank_anyway else unequal(trials)
    rows.sort(key=lambda row: row.label if unranked else _order(row))
    finished = {row.label: row.trial.runs for row in rows if row.n}
    ranked = {} if unranked else finished
    baseline = _baseline(rows, options)
    yardsticks = by_key(options.yardsticks)
    against = contrasts(ranked, baseline, options.yardsticks) if baseline else []
    twins = {each.label for each in against if each.same}
    distinct = {label: own for label, own in ranked.items() if label not in twins}
    return Comparison(
        setting[0],
        name_of(setting, settings),
        options,
        rows,
        trials,
        unranked,
        against,
        {key: leaders(ranked, each) for key, each in yardsticks.items()},
        flips(distinct, yardsticks["test/nll"], yardsticks["test_ts/nll"]),
        missing(trials),
        at_edge(trials, chosen),
        unfinished,
        confounded(trials),
        control_of(runs),
        runs,
    )


def _baseline(rows: Sequence[Row], options: Options) -> str | None:
    wanted = options.baseline or BASELINE
    return next((row.label for row in rows if row.label == wanted and row.n), None)


def _order(row: Row) -> tuple[float, str]:
    found = row.estimates.get("test_ts/nll")
    return (found.mean if found else float("inf")), row.label


def _row(trial: Trial, trials: int) -> Row:
    runs = trial.runs
    found = runs[0].metrics if runs else ()
    keys = [key for key in found if all(key in run.metrics for run in runs)]
    estimates = {key: estimate([run.metrics[key] for run in runs]) for key in keys}
    words: dict[str, list[str]] = {}
    for run in runs:
        for tag in run.tags:
            if tag.endswith(VERDICT):
                words.setdefault(tag.removesuffix(VERDICT), []).append(run.tags[tag])
    verdicts = {k: _majority(found) for k, found in words.items() if len(found) == len(runs)}
    maps = [run.tags["scaled_map"] for run in runs if "scaled_map" in run.tags]
    return Row(trial, trials, estimates, verdicts, (maps or ["softmax(z / T)"])[0])


def _majority(words: Sequence[str]) -> str:
    """What more than half of the runs say, if they do."""
    word, count = Counter(words).most_common(1)[0]
    return word if 2 * count > len(words) else "undecided"
