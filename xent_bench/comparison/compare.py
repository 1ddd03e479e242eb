"""Comparison of finished runs: one row for each loss, and what a reader must know about the rows.

This module computes and prints nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from xent_bench.comparison.confirmed import with_fresh_apart
from xent_bench.comparison.contrasts import (
    Contrast,
    Field,
    Leaders,
    contrasts,
    leaders,
)
from xent_bench.comparison.control import Control, control_of
from xent_bench.comparison.declared import Sequential, boundary_of, designs_of, sequential
from xent_bench.comparison.fairness import (
    budget,
    confounded,
    placed_by,
    tried_by_loss,
    unequal,
)
from xent_bench.comparison.flips import Flip, flips
from xent_bench.comparison.row import Row, most_rivals, row_of
from xent_bench.comparison.setting import (
    Setting,
    identity_of,
    in_order_of_numbers,
    name_of,
    setting_of,
)
from xent_bench.comparison.still_falling import still_falling
from xent_bench.comparison.trials import EmptyCell, Trial, empty_cells, trials_of
from xent_bench.comparison.trust import VERDICT_PREFIXES, trust
from xent_bench.comparison.tuned_space import at_edge
from xent_bench.comparison.tuning import choose
from xent_bench.comparison.yardsticks import (
    CHOOSE_BY,
    COMPARED,
    PRIMARY,
    YARDSTICKS,
    Yardstick,
    by_key,
    quoted,
)
from xent_bench.config.design_keys import DESIGN
from xent_bench.config.nearest import hint
from xent_bench.failures import UsageError
from xent_bench.runs.begun import Unfinished
from xent_bench.runs.design import Design, design_of
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
    is_primary_asked: bool = False  # whether `primary` holds even if runs declare another one
    compared: tuple[str, ...] = COMPARED  # keys of the metrics with a verdict, beside the primary

    @property
    def quoted(self) -> tuple[str, ...]:
        """Keys of the metrics that the conclusion quotes: the primary one, then the others."""
        return quoted(self.primary, self.compared)


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
    sampler: str = ""  # by which losses have different points; empty: they share them
    noun: str = "loss"  # what the rows are; `model` where somebody's predictions are compared

    @property
    def baseline(self) -> str | None:
        """Label of the baseline's row; None if the comparison has no finished run of it."""
        return _baseline(self.rows, self.options)

    @property
    def nouns(self) -> str:
        """The plural of what the rows are."""
        return "losses" if self.noun == "loss" else f"{self.noun}s"

    @property
    def is_tuned(self) -> bool:
        """Whether any loss had more than one trial to choose from."""
        return any(row.trials > 1 for row in self.rows)

    @property
    def is_confirmed(self) -> bool:
        """Whether all tuned losses are reported by fresh seeds, which chose nothing."""
        return any(row.choice.is_confirmed for row in self.rows)


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
    options = options._replace(choose_by=options.choose_by or search_by(runs))
    trials = trials_of(runs, unfinished, options.choose_by)
    trials = with_fresh_apart(trials, options.choose_by)
    choices = choose(trials, options.choose_by)
    boundary = boundary_of(designs)
    tuned_over = budget(trials, choices)
    tried = tried_by_loss(trials, tuned_over)
    rows = [row_of(choice, tried[loss], boundary) for loss, choice in choices.items()]
    differing = confounded(tuned_over)
    edges = _edges(trials, tuned_over, rows)
    unfair = "; ".join(filter(None, [unequal(tuned_over), *differing]))
    unranked = "" if options.rank_anyway else unfair
    rows.sort(key=lambda row: row.label if unranked else _order(row, options))
    ranked = {} if unranked else {row.label: row.runs for row in rows if row.n}
    field = Field(ranked, most_rivals(rows), boundary)
    baseline = _baseline(rows, options)
    yardsticks = by_key(options.yardsticks)
    course = None
    if designs and baseline in ranked:
        course = _course(trials, rows, designs, baseline, options)
        field = Field(course.used, (1, 1), boundary)
    decisions = course and course.decisions
    differences = (
        contrasts(field, baseline, options.yardsticks, options.primary, decisions, options.compared)
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
        edges,
        unfinished,
        differing,
        control_of(runs),
        runs,
        field,
        course,
        placed_by(tuned_over),
    )


def _edges(trials: Sequence[Trial], tuned_over: Sequence[Trial], rows: Sequence[Row]) -> list[str]:
    """Chosen values at an end of those that count as tuning effort or diverged."""
    budgeted = set(map(id, tuned_over))
    tried = [trial for trial in trials if id(trial) in budgeted or trial.has_diverged]
    tuned = [row for row in rows if row.trials > 1 and row.choice.candidates]
    return at_edge(tried, {row.label: row.trial for row in tuned})


def _course(
    trials: Sequence[Trial],
    rows: Sequence[Row],
    designs: Sequence[Design],
    baseline: str,
    options: Options,
) -> Sequential:
    """The looks of a sequential design at the losses that have begun, and what they decide."""
    competing = {row.label: row.trial for row in rows if row.trial.begun}
    return sequential(trials, competing, designs, baseline, options.yardsticks, options.primary)


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


def search_by(runs: Iterable[Run]) -> str:
    """The metric on val by which the runs' search chose; CHOOSE_BY without a search."""
    metrics = Counter(design_of(run.tags).search_by for run in runs if DESIGN in run.tags)
    return metrics.most_common(1)[0][0] if metrics else CHOOSE_BY
