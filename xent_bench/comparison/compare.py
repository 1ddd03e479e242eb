"""Comparison of finished runs: one row for each loss, and what a reader must know about the rows.

This module computes and prints nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from xent_bench.comparison.confirmed import with_fresh_apart
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
from xent_bench.comparison.fairness import (
    budget,
    confounded,
    sampler_of,
    tried_by_loss,
    unequal,
)
from xent_bench.comparison.setting import (
    Setting,
    identity_of,
    in_order_of_numbers,
    name_of,
    setting_of,
)
from xent_bench.comparison.stats import Estimate, Rivals, estimate, widest
from xent_bench.comparison.still_falling import still_falling
from xent_bench.comparison.trials import EmptyCell, Trial, empty_cells, trials_of
from xent_bench.comparison.trust import VERDICT_PREFIXES, trust
from xent_bench.comparison.tuned_space import at_edge
from xent_bench.comparison.tuning import Choice, choose
from xent_bench.comparison.yardsticks import CHOOSE_BY, PRIMARY, YARDSTICKS, Yardstick, by_key
from xent_bench.config.design_keys import DESIGN
from xent_bench.config.nearest import hint
from xent_bench.failures import UsageError
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.design import design_of
from xent_bench.runs.result import Run

BASELINE = "ce"


class Options(NamedTuple):
    """Settings of a comparison, as the options of xent-report give them."""

    baseline: str | None = None  # None: ce, if the comparison has it
    yardsticks: tuple[Yardstick, ...] = YARDSTICKS
    # metric on val that chooses hyper-parameters; empty: that of the runs' design, or CHOOSE_BY
    choose_by: str = ""
    rank_anyway: bool = False  # rank also where losses were not tuned alike
    primary: str = PRIMARY  # key of the metric that decides which loss is better


class Row(NamedTuple):
    """Results of one loss with its chosen hyper-parameters, over its seeds."""

    choice: Choice
    estimates: dict[str, Estimate]  # by metric key, of the metrics that every run has
    scaled_map: str  # formula of temperature scaling for this loss, such as softmax(z / T)
    trials: int = 1  # among which the loss's trial was chosen; 1 for an untuned loss

    @property
    def label(self) -> str:
        """Name of the loss."""
        return self.trial.loss

    @property
    def trial(self) -> Trial:
        """The trial that all seeds together choose: the one to train with."""
        return self.choice.trial

    @property
    def runs(self) -> list[Run]:
        """Reported runs, one for each seed: a run of the trial that the other seeds choose."""
        return self.choice.runs

    @property
    def rivals(self) -> Rivals:
        """Numbers of trials among which seeds chose that are reported themselves.

        They are 1 for an untuned loss, and for one that fresh seeds report. Of a search that was
        halved they are those trained to the end, and all: see `widest`.
        """
        if self.choice.is_confirmed:
            return 1, 1
        return max(1, len(self.choice.candidates)), self.trials

    @property
    def n(self) -> int:
        """Number of seeds with a finished run."""
        return len(self.runs)

    @property
    def seconds(self) -> float | None:
        """Mean duration of a run in seconds, evaluation included; None without a run."""
        return fmean(run.seconds for run in self.runs) if self.n else None

    @property
    def examples_per_second(self) -> float | None:
        """Mean training speed of the runs that recorded theirs; None if no run did."""
        recorded = [run.examples_per_second for run in self.runs]
        speeds = [speed for speed in recorded if speed is not None]
        return fmean(speeds) if speeds else None

    @property
    def at_bound(self) -> int:
        """Number of these runs whose fit found no best temperature within the bounds."""
        share = self.estimates.get("test_ts/temperature_at_bound")
        return round(self.n * share.mean) if share else 0


class Comparison(NamedTuple):
    """Results of one experiment in one setting: data, net, epochs, batch size and the like."""

    experiment: str
    setting: str  # data and model, and what distinguishes it from the other settings
    options: Options
    rows: list[Row]
    trials: list[Trial]
    unfair: str  # why losses cannot be ranked fairly; empty if they can
    unranked: str  # why losses are not ranked; empty with Options.rank_anyway
    contrasts: list[Contrast]
    leaders: dict[str, Leaders]  # by the yardstick's key
    trust: dict[str, dict[str, str]]  # verdict on calibration, by reading, then by loss
    falling: dict[str, float]  # fall of val/nll of each loss that still improved at the end
    flips: list[Flip]
    empty_cells: list[EmptyCell]
    at_edge: list[str]  # chosen values that are the smallest or largest tried
    unfinished: list[Unfinished]
    confounded: list[str]  # what differs between losses besides the loss and its parameters
    control: Control
    runs: list[Run]
    sampler: str = ""  # that placed each loss's trials by their results; empty: all have the same

    @property
    def baseline(self) -> str | None:
        """Label of the baseline's row; None if the comparison has no finished run of it."""
        return _baseline(self.rows, self.options)

    @property
    def is_tuned(self) -> bool:
        """Whether any loss had more than one trial to choose from."""
        return any(row.trials > 1 for row in self.rows)

    @property
    def is_confirmed(self) -> bool:
        """Whether all tuned losses are reported by fresh seeds, which chose nothing."""
        return any(row.choice.is_confirmed for row in self.rows)


def most_rivals(rows: Iterable[Row]) -> Rivals:
    """The largest numbers of trials that any of these losses was chosen from: see `Row.rivals`."""
    finished, tried = zip(*(row.rivals for row in rows), strict=True)
    return max(finished), max(tried)


def compare(
    runs: Sequence[Run], unfinished: Sequence[Unfinished] = (), options: Options | None = None
) -> list[Comparison]:
    """Compare the losses of each experiment and setting, ordered by the primary metric.

    UsageError if no comparison has the baseline that was asked for, ValueError if the trials of a
    loss lack the score that chooses between them.
    """
    options = options or Options()
    groups: dict[Setting, list[Run]] = {}
    for run in sorted(runs, key=identity_of):
        groups.setdefault(setting_of(run), []).append(run)
    finished_settings = {setting[:-1] for setting in groups}
    without_result = sorted(unfinished, key=identity_of)
    for run_without_result in without_result:  # add the settings in which no run finished
        setting = setting_of(run_without_result)
        if setting[:-1] not in finished_settings:
            groups.setdefault(setting, [])
    comparisons = []
    for setting in sorted(groups, key=in_order_of_numbers):
        # an unfinished run has no hash of its images, so the last part is not compared
        same_setting = [run for run in without_result if setting_of(run)[:-1] == setting[:-1]]
        comparisons.append(
            _comparison(setting, list(groups), groups[setting], same_setting, options)
        )
    losses = dict.fromkeys(trial.loss for comparison in comparisons for trial in comparison.trials)
    if options.baseline is not None and options.baseline not in losses:
        expected = f"expected one of {', '.join(losses)}, got {options.baseline}"
        raise UsageError(f"--baseline: {expected}{hint(options.baseline, losses)}")
    return comparisons


def _comparison(
    setting: Setting,
    settings: list[Setting],
    runs: list[Run],
    unfinished: list[Unfinished],
    options: Options,
) -> Comparison:
    options = options._replace(choose_by=options.choose_by or _search_by(runs))
    trials = trials_of(runs, unfinished, options.choose_by)
    trials = with_fresh_apart(trials, options.choose_by)
    choices = choose(trials, options.choose_by)
    tuned_over = budget(trials, choices)
    tried = tried_by_loss(trials, tuned_over)
    rows = [_row(choice, tried[loss]) for loss, choice in choices.items()]
    differing = confounded(tuned_over)
    chosen = {row.label: row.trial for row in rows if row.trials > 1 and row.choice.candidates}
    budgeted = set(map(id, tuned_over))
    ends = [trial for trial in trials if id(trial) in budgeted or trial.has_diverged]
    unfair = "; ".join(filter(None, [unequal(tuned_over), *differing]))
    unranked = "" if options.rank_anyway else unfair
    rows.sort(key=lambda row: row.label if unranked else _order(row, options))
    ranked = {} if unranked else {row.label: row.runs for row in rows if row.n}
    field = Field(ranked, most_rivals(rows))
    baseline = _baseline(rows, options)
    yardsticks = by_key(options.yardsticks)
    differences = (
        contrasts(field, baseline, options.yardsticks, options.primary) if baseline else []
    )
    twins = {contrast.label for contrast in differences if contrast.same}
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
        differences,
        {key: leaders(field, by) for key, by in yardsticks.items()},
        {reading: trust(finished, reading) for reading in VERDICT_PREFIXES},
        _falling(finished),
        flips(field._replace(runs=distinct), yardsticks["test/nll"], yardsticks["test_ts/nll"]),
        empty_cells(trials),
        at_edge(ends, chosen),
        unfinished,
        differing,
        control_of(runs),
        runs,
        sampler_of(tuned_over),
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


def _search_by(runs: Iterable[Run]) -> str:
    """The metric on val by which the runs' search chose; CHOOSE_BY without a search."""
    metrics = Counter(design_of(run.tags).search_by for run in runs if DESIGN in run.tags)
    return metrics.most_common(1)[0][0] if metrics else CHOOSE_BY


def _row(choice: Choice, tried: int) -> Row:
    """The row of a loss; `tried` is the number of trials that a search tried, 0 for a grid."""
    runs = choice.runs
    first = runs[0].metrics if runs else ()
    keys = [key for key in first if all(key in run.metrics for run in runs)]
    trials = max(1, tried, len(choice.candidates))
    row = Row(choice, {}, "", trials)
    widening = widest(len(runs), row.rivals)
    estimates = {
        key: estimate([run.metrics[key] for run in runs], widening=widening) for key in keys
    }
    maps = [run.tags["scaled_map"] for run in runs if "scaled_map" in run.tags]
    return row._replace(estimates=estimates, scaled_map=(maps or ["softmax(z / T)"])[0])
