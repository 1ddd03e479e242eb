"""A comparison as tables: levels, differences to the baseline, trials, seeds needed."""

from collections.abc import Sequence
from math import isfinite

from xent_bench.comparison.compare import Comparison, Row
from xent_bench.comparison.contrasts import Contrast
from xent_bench.comparison.stats import LEVEL, choice_widening, largest_spread, seeds_needed
from xent_bench.comparison.yardsticks import Yardstick, by_key, quoted
from xent_bench.tables import Best, Table

MARKS = {
    "over-confident": "↑",
    "under-confident": "↓",
    "mixed": "↕",
    "within noise": " ",
    "undecided": "?",
}
BRIEF = ("test/top1", "test/top5", "test/nll", "test_ts/nll", "test/ece", "test_ts/ece")
WORDS = {
    "better": "better",
    "worse": "worse",
    "inconclusive": "?",
    "not judged": "",
}  # else it is a tie


def levels(comparison: Comparison, keys: Sequence[str] = BRIEF) -> Table:
    """One row a loss: mean and interval over seeds, by these yardsticks."""
    shown = [each for each in comparison.options.yardsticks if each.key in keys]
    headings = ["loss", "n", *(f"{each.above}\n{each.below}" for each in shown)]
    rows = [
        [row.label, _seeds(row), *(_level(comparison, row, by) for by in shown)]
        for row in comparison.rows
    ]
    return Table(f"{comparison.experiment}: {comparison.setting}", headings, rows, [])


def _seeds(row: Row) -> str:
    """How many finished; of how many, if others were begun."""
    return _of(row.n, max(row.n, row.trial.begun))


def _of(finished: int, begun: int) -> str:
    return str(finished) if finished == begun else f"{finished}/{begun}"


def _level(comparison: Comparison, row: Row, by: Yardstick) -> str:
    found = row.estimates.get(by.key)
    if found is None:
        return "-"
    prefix, _, metric = by.key.partition("/")
    mark = MARKS[_verdict(comparison, row, prefix)] if metric == "ece" else ""
    half = "" if found.half_width is None else f"±{by.shown(found.half_width)}"
    cell = f"{by.shown(found.mean)}{half}{mark}"
    best, tied = comparison.leaders[by.key]
    return Best(cell) if row.label == best else f"{cell.rstrip()}≈" if row.label in tied else cell


def _verdict(comparison: Comparison, row: Row, reading: str) -> str:
    """The verdict on calibration; a loss with the baseline's weights has the baseline's."""
    verdicts = comparison.trust[reading]
    return verdicts.get(row.label, verdicts.get(str(comparison.baseline), "undecided"))


def differences(comparison: Comparison) -> Table:
    """One row a loss: what it gains or loses against the baseline."""
    yardsticks = by_key(comparison.options.yardsticks)
    shown = [yardsticks[key] for key in quoted(comparison.options.primary)]
    by_label: dict[str, dict[str, Contrast]] = {}
    for each in comparison.contrasts:
        by_label.setdefault(each.label, {})[each.yardstick.key] = each
    order = [row.label for row in comparison.rows if row.label in by_label]
    headings = ["loss", "pairs", *(_against_heading(by) for by in shown)]
    rows = [
        [label, str(_pairs(by_label[label]))]
        + [_against(by_label[label].get(each.key)) for each in shown]
        for label in order
    ]
    notes = [
        f"Difference to the baseline, paired by seed, ± 95 % interval{_widened(comparison)}. "
        f"better, worse: p < 0.05, corrected (Holm) over the losses of {shown[0].name}, the "
        "primary metric, and over losses and columns of the others, which are secondary. tie: "
        "smaller than "
        + ", ".join(dict.fromkeys(f"{each.margin()} ({each.above})" for each in shown))
        + " (TOST, corrected too; --tie sets it). ?: inconclusive. Because of the "
        "correction, an interval without 0 is not enough for a verdict."
    ]
    alike = [each for each in comparison.contrasts if each.yardstick in shown and _is_alike(each)]
    if alike:
        notes.append(
            "Without ±: the differences of all seeds are the same, as a few images make them, and "
            "leave no spread to judge by."
        )
    return Table(f"Against {comparison.baseline}", headings, rows, notes)


def _widened(comparison: Comparison) -> str:
    """Say by how much tuning widens an interval over the seeds of the largest row."""
    n = max((row.n for row in comparison.rows), default=1)
    factor = choice_widening(n, max(row.trials for row in comparison.rows))
    if factor == 1:
        return ""
    return f", {factor:.2f} times as wide as untuned, since seeds share what chose for them"


def _is_alike(contrast: Contrast) -> bool:
    found = contrast.difference
    return not contrast.same and found.n > 1 and found.spread is None and isfinite(found.mean)


def _pairs(found: dict[str, Contrast]) -> int:
    return max(each.difference.n for each in found.values())


def _against_heading(by: Yardstick) -> str:
    return f"{by.above}\n{'points' if by.below == '%' else by.below}"


def _against(contrast: Contrast | None) -> str:
    if contrast is None:
        return "-"
    found, by = contrast.difference, contrast.yardstick
    if contrast.same:
        return "same  "
    if not isfinite(found.mean):
        return "-       "
    half = "" if found.half_width is None else f"±{by.shown(found.half_width)}"
    word = WORDS.get(contrast.verdict, "tie")
    return f"{by.shown(found.mean, '+')}{half} {word:6}"


def trials(comparison: Comparison) -> Table:
    """One row a trial: its score on val, by which one of each loss was chosen."""
    metric = comparison.options.choose_by
    chosen = {id(row.trial) for row in comparison.rows}
    rows = []
    for trial in sorted(comparison.trials, key=lambda each: each.loss):
        score = trial.score
        cell = "-" if score is None else f"{score.mean:.4f}"
        if score is not None and score.half_width is not None:
            cell += f"±{score.half_width:.4f}"
        n = _of(len(trial.runs), trial.begun)
        rows.append([trial.label, n, Best(cell) if id(trial) in chosen else cell])
    title = f"Trials on {comparison.setting}"
    notes = [
        f"Mean {metric} over a trial's own seeds; marked: the trial of its loss that was chosen, "
        "by the mean over those seeds that its trials share."
    ]
    return Table(title, ["loss", "n", metric], rows, notes)


def power(comparison: Comparison, points: float) -> Table:
    """How many seeds would show a difference of so many points of top-1, by the spread at hand."""
    found = [e for e in comparison.contrasts if e.yardstick.key == "test/top1" and not e.same]
    where = f"{comparison.experiment}, {comparison.setting}"
    title = f"Seeds needed for {points:g} points of top-1: {where}"
    if not found:
        why = "No difference at hand: the baseline is missing, or losses are not ranked."
        return Table(title, ["loss"], [], [why])
    primary = comparison.options.primary
    family = 1 if primary == "test/top1" else len(quoted(primary)) - 1
    level = LEVEL / (len(found) * family)
    most = max(row.trials for row in comparison.rows)
    rows = [
        [each.label, str(each.difference.n), *_needed(each, points, level, most)] for each in found
    ]
    headings = ["loss", "pairs", "spread\npoints", "seeds", "spread\nat most", "seeds\nat most"]
    notes = [
        f"Seeds with which a difference of {points:g} points to {comparison.baseline} would be "
        "called better or worse in 80 % of sweeps: a two-sided paired t test at 5 % over "
        f"{len(found)} losses{' and the secondary metrics' * (family > 1)} (Bonferroni). "
        "Spread: standard deviation of the differences in top-1 "
        "over these pairs; at most: the end of its one-sided 80 % interval. -: these pairs, one or "
        "all alike, tell no spread."
    ]
    return Table(title, headings, rows, notes)


def _needed(contrast: Contrast, points: float, level: float, trials: int) -> list[str]:
    """Spread and seeds, as found and at most."""
    spread, n = contrast.difference.spread, contrast.difference.n
    widening = choice_widening(n, trials)
    if spread is None:
        return ["-"] * 4
    cells = []
    for value in (spread, largest_spread(spread, n)):
        needed = seeds_needed(points / 100, widening * value, level)
        cells += [f"{100 * value:.2f}", "too many" if needed is None else str(needed)]
    return cells
