"""Comparison of finished runs: one row for each loss, and what a reader must know about the rows.

This module computes and prints nothing.
"""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from xent_bench.comparison.boundary import Boundary, confidence_of
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
from xent_bench.comparison.declared import Sequential, boundary_of, designs_of, sequential
from xent_bench.comparison.setting import (
    Setting,
    identity_of,
    in_order_of_numbers,
    name_of,
    setting_of,
)
from xent_bench.comparison.stats import Estimate, choice_widening, estimate
from xent_bench.comparison.still_falling import still_falling
from xent_bench.comparison.trials import EmptyCell, Trial, empty_cells, trials_of
from xent_bench.comparison.trust import VERDICT_PREFIXES, trust
from xent_bench.comparison.tuning import Choice, at_edge, budget, choose, confounded, unequal
from xent_bench.comparison.yardsticks import CHOOSE_BY, PRIMARY, YARDSTICKS, Yardstick, by_key
from xent_bench.config.nearest import hint
from xent_bench.failures import UsageError
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.design import Design
from xent_bench.runs.result import Run

BASELINE = "ce"


class Options(NamedTuple):
    """Settings of a comparison, as the options of xent-report give them."""

    baseline: str | None = None  # None: ce, if the comparison has it
    yardsticks: tuple[Yardstick, ...] = YARDSTICKS
    choose_by: str = CHOOSE_BY  # metric on val that chooses hyper-parameters
    rank_anyway: bool = False  # rank also where losses were not tuned alike
    primary: str = PRIMARY  # key of the metric that decides which loss is better
    is_primary_asked: bool = False  # whether `primary` holds even if runs declare another one


class Row(NamedTuple):
    """Results of one loss with its chosen hyper-parameters, over its seeds."""

    choice: Choice
    estimates: dict[str, Estimate]  # by metric key, of the metrics that every run has
    scaled_map: str  # formula of temperature scaling for this loss, such as softmax(z / T)

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
    def trials(self) -> int:
        """Number of trials among which the loss's trial was chosen; 1 for an untuned loss."""
        return max(1, len(self.choice.candidates))

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
    field: Field  # the runs that compete, and how errors are computed
    sequential: Sequential | None  # None if the runs declare no sequential design

    @property
    def baseline(self) -> str | None:
        """Label of the baseline's row; None if the comparison has no finished run of it."""
        return _baseline(self.rows, self.options)

    @property
    def is_tuned(self) -> bool:
        """Whether any loss had more than one trial to choose from."""
        return any(row.trials > 1 for row in self.rows)


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
    designs = designs_of([*runs, *unfinished])
    options = _declared(options, designs)
    trials = trials_of(runs, unfinished, options.choose_by)
    choices = choose(trials, options.choose_by)
    boundary = boundary_of(designs)
    rows = [_row(choice, boundary) for choice in choices.values()]
    tuned_over = budget(trials, choices)
    differing = confounded(tuned_over)
    chosen = {loss: choice for loss, choice in choices.items() if len(choice.candidates) > 1}
    candidates = {id(trial) for choice in chosen.values() for trial in choice.candidates}
    tried = [trial for trial in trials if id(trial) in candidates or trial.has_diverged]
    unfair = "; ".join(filter(None, [unequal(tuned_over), *differing]))
    unranked = "" if options.rank_anyway else unfair
    rows.sort(key=lambda row: row.label if unranked else _order(row, options))
    ranked = {} if unranked else {row.label: row.runs for row in rows if row.n}
    field = Field(ranked, max(row.trials for row in rows), boundary)
    baseline = _baseline(rows, options)
    yardsticks = by_key(options.yardsticks)
    course = None
    if designs and baseline in ranked:
        competing = {row.label: row.trial for row in rows if row.trial.begun}
        course = sequential(
            trials, competing, designs, baseline, options.yardsticks, options.primary
        )
        field = Field(course.used, 1, boundary)
    decisions = course and course.decisions
    differences = (
        contrasts(field, baseline, options.yardsticks, options.primary, decisions)
        if baseline
        else []
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
        _empty_cells(trials, course),
        at_edge(tried, {loss: choice.trial for loss, choice in chosen.items()}),
        unfinished,
        differing,
        control_of(runs),
        runs,
        field,
        course,
    )


def _declared(options: Options, designs: Sequence[Design]) -> Options:
    """Take the primary metric and the baseline of the design, unless others are asked for."""
    if not designs:
        return options
    return options._replace(
        primary=options.primary if options.is_primary_asked else designs[0].primary,
        baseline=options.baseline or designs[0].baseline,
    )


def _empty_cells(trials: Sequence[Trial], course: Sequential | None) -> list[EmptyCell]:
    """Cells without a run; under a sequential design those that the next look needs."""
    cells = empty_cells(trials)
    if course is None:
        return cells
    labels = {trial.label: loss for loss, trial in course.trials.items()}
    return [
        cell
        for cell in cells
        if cell.label in labels and course.lacks(labels[cell.label], int(cell.seed))
    ]


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


def _row(choice: Choice, boundary: Boundary | None) -> Row:
    runs = choice.runs
    first = runs[0].metrics if runs else ()
    keys = [key for key in first if all(key in run.metrics for run in runs)]
    widening = choice_widening(len(runs), len(choice.candidates))
    confidence = confidence_of(boundary, len(runs))
    estimates = {
        key: estimate([run.metrics[key] for run in runs], confidence, widening=widening)
        for key in keys
    }
    maps = [run.tags["scaled_map"] for run in runs if "scaled_map" in run.tags]
    return Row(choice, estimates, (maps or ["softmax(z / T)"])[0])
