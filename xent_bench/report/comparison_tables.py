"""Tables of a comparison: means, differences to the baseline, trials, and seeds needed."""

from collections.abc import Sequence
from math import isfinite

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.contrasts import Contrast
from xent_bench.comparison.row import Row, most_rivals
from xent_bench.comparison.stats import (
    LEVEL,
    Estimate,
    Rivals,
    largest_spread,
    seeds_needed,
    widest,
)
from xent_bench.comparison.trials import Trial
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.report.bounds import shown_within
from xent_bench.report.design_words import ADJUSTED
from xent_bench.tables import Best, Table

MARKS = {
    "over-confident": "↑",
    "under-confident": "↓",
    "mixed": "↕",
    "within noise": " ",
    "undecided": "?",
}
WITHOUT_SPREAD = (
    "A mean without ±: all seeds have the same value, so there is no spread and no interval."
)
BRIEF = ("test/top1", "test/top5", "test/nll", "test_ts/nll", "test/ece", "test_ts/ece")
VERDICT_WORDS = {  # any other verdict is a tie
    "better": "better",
    "worse": "worse",
    "inconclusive": "?",
    "not judged": "",
}


def levels(
    comparison: Comparison, keys: Sequence[str] = BRIEF, *, within_bounds: bool = False
) -> Table:
    """Table with one row for each loss: mean and interval over seeds, for these metric keys.

    With `within_bounds` an interval ends where no value of its metric can lie: see `bounds`.
    """
    shown = [
        by
        for by in comparison.options.yardsticks
        if by.key in keys
        and (by.below != "corrected" or any(by.key in row.estimates for row in comparison.rows))
    ]
    headings = [comparison.noun, "n", *(f"{by.above}\n{by.below}" for by in shown)]
    rows = [
        [row.label, _seeds(row), *(_level(comparison, row, by, within_bounds) for by in shown)]
        for row in comparison.rows
    ]
    estimates = [row.estimates.get(by.key) for row in comparison.rows for by in shown]
    alike = [WITHOUT_SPREAD] * any(map(_is_without_spread, estimates))
    brief = [*_marks_in(rows, comparison.nouns), *alike]
    title = f"{comparison.experiment}: {comparison.setting}"
    return Table(title, headings, rows, alike, 1, brief)


def _is_without_spread(estimate: Estimate | None) -> bool:
    """Whether several runs have one finite value, and so no interval."""
    if estimate is None or estimate.n < 2:
        return False
    return estimate.half_width is None and isfinite(estimate.mean)


def _marks_in(rows: Sequence[Sequence[str]], nouns: str) -> list[str]:
    """The meaning of the marks in a table of means, in a sentence each."""
    cells = [cell for row in rows for cell in row[2:]]
    marks = {mark for cell in cells for mark in cell}
    parts = ["Mean ± 95 % interval over n seeds."] * ("±" in marks)
    if any(isinstance(cell, Best) for cell in cells):
        parts.append(
            "*: the best; ≈: not shown to differ from it; neither, in a column with a *: shown to "
            f"be worse, by a test of this column alone, or without the seeds that most {nouns} "
            "have."
        )
    words = [
        f"{mark} {verdict}" for verdict, mark in MARKS.items() if mark != " " and mark in marks
    ]
    parts += [f"ECE: {', '.join(words)}."] * bool(words)
    return [" ".join([*parts, "Scaled: after temperature scaling. More: --legend"])]


def _seeds(row: Row) -> str:
    """Number of finished runs, as '2/3' if more runs were begun."""
    return _of(row.n, row.choice.begun)


def _of(finished: int, begun: int) -> str:
    return str(finished) if finished == begun else f"{finished}/{begun}"


def _level(comparison: Comparison, row: Row, by: Yardstick, within_bounds: bool) -> str:
    """Cell of a loss and a metric: mean, half-width, marks of calibration and of the best loss."""
    estimate = row.estimates.get(by.key)
    if estimate is None:
        return "-"
    prefix, _, metric = by.key.partition("/")
    mark = MARKS[_verdict(comparison, row, prefix)] if metric == "ece" else ""
    half = "" if estimate.half_width is None else f"±{by.shown(estimate.half_width)}"
    if within_bounds:
        half = shown_within(estimate, by)
    cell = f"{by.shown(estimate.mean)}{half}{mark}"
    best, tied = comparison.leaders[by.key]
    return Best(cell) if row.label == best else f"{cell.rstrip()}≈" if row.label in tied else cell


def _verdict(comparison: Comparison, row: Row, reading: str) -> str:
    """Verdict on calibration; a loss with the same weights as the baseline has its verdict."""
    verdicts = comparison.trust[reading]
    return verdicts.get(row.label, verdicts.get(str(comparison.baseline), "undecided"))


def differences(comparison: Comparison) -> Table:
    """Table with one row for each loss: its differences to the baseline, with verdicts."""
    yardsticks, nouns = by_key(comparison.options.yardsticks), comparison.nouns
    shown = [yardsticks[key] for key in comparison.options.quoted]
    by_label: dict[str, dict[str, Contrast]] = {}
    for contrast in comparison.contrasts:
        by_label.setdefault(contrast.label, {})[contrast.yardstick.key] = contrast
    order = [row.label for row in comparison.rows if row.label in by_label]
    headings = [comparison.noun, "pairs", *(_against_heading(by) for by in shown)]
    columns = [_against([by_label[label].get(by.key) for label in order]) for by in shown]
    rows = [
        [label, str(_pairs(by_label[label])), *cells]
        for label, *cells in zip(order, *columns, strict=True)
    ]
    if comparison.sequential is not None:
        headings.insert(2, "look")
        for row in rows:
            row.insert(2, _look(by_label[row[0]].get(comparison.options.primary)))
    notes = [
        f"Difference to the baseline, paired by seed, ± 95 % interval{_widened(comparison)}. "
        f"better, worse: p < 0.05, corrected (Holm): for {shown[0].name}, the primary metric, "
        f"over the {nouns}; for the other columns, which are secondary, over {nouns} and columns. "
        "tie: the difference is smaller than "
        + ", ".join(dict.fromkeys(f"{by.margin()} ({by.above})" for by in shown))
        + " (TOST, corrected too; --tie sets it). ?: inconclusive. Because of the "
        "correction, an interval without 0 is not enough for a verdict."
    ]
    brief = ["Paired by seed."]
    if any("±" in cell for row in rows for cell in row):
        brief = [
            f"Paired by seed, ± 95 % interval{_widened(comparison)}. better, worse, tie: corrected "
            "for the number of tests; ?: inconclusive."
        ]
    if any(
        contrast.yardstick in shown and _is_alike(contrast) for contrast in comparison.contrasts
    ):
        alike = (
            f"Without ±: all seeds have the same difference, which happens when {nouns} differ on "
            "a few images. There is no spread, and so no interval and no test."
        )
        notes, brief = [*notes, alike], [*brief, alike]
    return Table(f"Against {comparison.baseline}", headings, rows, notes, 1, brief)


def _look(contrast: Contrast | None) -> str:
    """Number of the look at which the verdict by the primary metric fell; '-' if it is open."""
    return "-" if contrast is None or contrast.look is None else str(contrast.look + 1)


def _widened(comparison: Comparison) -> str:
    """Say how intervals are adjusted for a design's looks, or how much wider tuning makes them.

    The latter is for the row with most seeds. Empty without a design and tuning.
    """
    if comparison.sequential is not None:
        return ADJUSTED
    n = max((row.n for row in comparison.rows), default=1)
    factor = widest(n, most_rivals(comparison.rows))
    if factor == 1:
        return ""
    return f", {factor:.2f} times as wide as untuned, since their choices share seeds"


def _is_alike(contrast: Contrast) -> bool:
    """Whether all pairs of seeds have the same difference, so that it has no spread."""
    delta = contrast.difference
    return not contrast.same and delta.n > 1 and delta.spread is None and isfinite(delta.mean)


def _pairs(contrasts: dict[str, Contrast]) -> int:
    """Largest number of pairs over the metrics of one loss."""
    return max(contrast.difference.n for contrast in contrasts.values())


def _against_heading(by: Yardstick) -> str:
    return f"{by.above}\n{'points' if by.below == '%' else by.below}"


def _against(column: Sequence[Contrast | None]) -> list[str]:
    """Cells of the differences to the baseline in one metric, with verdicts of one width."""
    words = ["" if contrast is None else _word(contrast) for contrast in column]
    width = max(map(len, words), default=0)
    return [_difference(c, word.ljust(width)) for c, word in zip(column, words, strict=True)]


def _word(contrast: Contrast) -> str:
    """The verdict in a cell; empty where there is no test."""
    if contrast.same or not isfinite(contrast.difference.mean):
        return ""
    return VERDICT_WORDS.get(contrast.verdict, "tie")


def _difference(contrast: Contrast | None, word: str) -> str:
    """Cell of a difference to the baseline: mean, half-width and verdict."""
    if contrast is None:
        return "-"
    delta, by = contrast.difference, contrast.yardstick
    if contrast.same:
        return f"same {word}"
    if not isfinite(delta.mean):
        return f"- {word}"
    half = "" if delta.half_width is None else f"±{by.shown(delta.half_width)}"
    return f"{by.shown(delta.mean, '+')}{half} {word}"


def trials(comparison: Comparison) -> Table:
    """Table with one row for each trial: its score on val, which chooses the trial of a loss."""
    metric = comparison.options.choose_by
    chosen = {id(row.trial) for row in comparison.rows}
    is_halved = any(trial.is_paused for trial in comparison.trials)
    rows = []
    for trial in sorted(comparison.trials, key=lambda trial: trial.loss):
        score = trial.score
        cell = "-" if score is None else f"{score.mean:.4f}"
        if score is not None and score.half_width is not None:
            cell += f"±{score.half_width:.4f}"
        n = _of(len(trial.runs), trial.begun)
        row = [trial.label, n, Best(cell) if id(trial) in chosen else cell]
        rows.append([*row, _ending(trial)] if is_halved else row)
    title = f"Trials on {comparison.setting}"
    notes = [
        f"Mean {metric} over the seeds of each trial. Marked: the chosen trial of a loss, by the "
        "mean over the seeds that all its trials share."
        + " Fresh seeds are not among them."
        * any(trial.fresh for trial in comparison.trials)
    ]
    headings = ["loss", "n", metric, *["ended"] * is_halved]
    return Table(title, headings, rows, notes)


def _ending(trial: Trial) -> str:
    """How a trial without a result ended; empty for a finished one."""
    reasons = dict.fromkeys(run.reason.partition(":")[0] for run in trial.unfinished)
    return " / ".join(reasons)


def power(comparison: Comparison, points: float) -> Table:
    """Table of the number of seeds that would show a difference of `points` points of top-1.

    The calculation uses the spread of the differences between these runs.
    """
    contrasts = [c for c in comparison.contrasts if c.yardstick.key == "test/top1" and not c.same]
    where = f"{comparison.experiment}, {comparison.setting}"
    title = f"Seeds needed for {points:g} points of top-1: {where}"
    if not contrasts:
        why = "No difference at hand: the baseline is missing, or losses are not ranked."
        return Table(title, ["loss"], [], [why])
    primary = comparison.options.primary
    family = 1 if primary == "test/top1" else len(comparison.options.quoted) - 1
    level = LEVEL / (len(contrasts) * family)
    most = most_rivals(comparison.rows)
    rows = [
        [contrast.label, str(contrast.difference.n), *_needed(contrast, points, level, most)]
        for contrast in contrasts
    ]
    headings = ["loss", "pairs", "spread\npoints", "seeds", "spread\nat most", "seeds\nat most"]
    judged = "1 loss" if len(contrasts) == 1 else f"{len(contrasts)} losses"
    notes = [
        f"Seeds with which a difference of {points:g} points to {comparison.baseline} would be "
        "called better or worse in 80 % of sweeps: a two-sided paired t test at 5 % over "
        f"{judged}{' and the secondary metrics' * (family > 1)} (Bonferroni). "
        "Spread: standard deviation of the differences in top-1 "
        "over these pairs; at most: the upper end of its one-sided 80 % interval. -: there is only "
        "one pair, or all pairs have the same difference, so the spread is unknown."
    ]
    return Table(title, headings, rows, notes)


def _needed(contrast: Contrast, points: float, level: float, rivals: Rivals) -> list[str]:
    """Four cells: spread and seeds needed, from the measured spread and from its upper limit."""
    spread, n = contrast.difference.spread, contrast.difference.n
    widening = widest(n, rivals)
    if spread is None:
        return ["-"] * 4
    cells = []
    for value in (spread, largest_spread(spread, n)):
        needed = seeds_needed(points / 100, widening * value, level)
        cells += [f"{100 * value:.2f}", "too many" if needed is None else str(needed)]
    return cells
