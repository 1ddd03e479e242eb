"""A comparison as tables: levels, differences to the baseline, trials; with notes to read them."""

from collections.abc import Sequence

from xent_bench.comparison import Comparison, Row
from xent_bench.contrasts import Contrast
from xent_bench.sources import mixed, provenance
from xent_bench.stats import largest_spread, seeds_needed
from xent_bench.tables import Best, Table
from xent_bench.yardsticks import Yardstick

MARKS = {
    "over-confident": "↑",
    "under-confident": "↓",
    "mixed": "↕",
    "within noise": " ",
    "undecided": "?",
}
ERROR = "test_se/top1"
BRIEF = ("test/top1", "test/top5", "test/nll", "test_ts/nll", "test/ece", "test_ts/ece")
AGAINST = ("test/top1", "test_ts/nll", "test_ts/brier", "test_ts/ece")  # defined for every loss
WORDS = {"better": "better", "worse": "worse", "inconclusive": "?"}  # else it is a tie
MOST = 8  # failures or missing runs in a note


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
    return str(row.n) if row.n == row.trial.begun else f"{row.n}/{row.trial.begun}"


def _level(comparison: Comparison, row: Row, by: Yardstick) -> str:
    found = row.estimates.get(by.key)
    if found is None:
        return "-"
    prefix, _, metric = by.key.partition("/")
    mark = MARKS[row.verdicts.get(prefix, "undecided")] if metric == "ece" else ""
    half = "" if found.half_width is None else f"±{by.shown(found.half_width)}"
    cell = f"{by.shown(found.mean)}{half}{mark}"
    return Best(cell) if row.label in comparison.leaders[by.key] else cell


def differences(comparison: Comparison) -> Table:
    """One row a loss: what it gains or loses against the baseline."""
    shown = [each for each in comparison.options.yardsticks if each.key in AGAINST]
    by_label: dict[str, dict[str, Contrast]] = {}
    for each in comparison.contrasts:
        by_label.setdefault(each.label, {})[each.yardstick.key] = each
    order = [row.label for row in comparison.rows if row.label in by_label]
    headings = ["loss", "pairs", *(_against_heading(each) for each in shown)]
    rows = [
        [label, str(_pairs(by_label[label]))]
        + [_against(by_label[label].get(each.key)) for each in shown]
        for label in order
    ]
    notes = [
        "Difference to the baseline, paired by seed, ± 95 % interval. better, worse: p < 0.05 "
        "after Holm's correction over the losses of a column. tie: smaller than "
        + ", ".join(dict.fromkeys(f"{each.margin()} ({each.above})" for each in shown))
        + " (TOST, corrected too; --tie sets it). ?: inconclusive."
    ]
    return Table(f"Against {comparison.baseline}", headings, rows, notes)


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
        n = str(len(trial.runs)) if not trial.unfinished else f"{len(trial.runs)}/{trial.begun}"
        rows.append([trial.label, n, Best(cell) if id(trial) in chosen else cell])
    title = f"Trials on {comparison.setting}"
    notes = [f"Mean {metric} over seeds; marked: the trial of its loss that was chosen by it."]
    return Table(title, ["loss", "n", metric], rows, notes)


def power(comparison: Comparison, points: float) -> Table:
    """How many seeds would show a difference of so many points of top-1, by the spread at hand."""
    rows = []
    for each in comparison.contrasts:
        spread, n = each.difference.spread, each.difference.n
        if each.yardstick.key != "test/top1" or each.same or spread is None:
            continue
        most = largest_spread(spread, n)
        needed = [seeds_needed(points / 100, value) for value in (spread, most)]
        cells = [f"{100 * value:.2f}" for value in (spread, most)]
        words = ["more than can be" if count is None else str(count) for count in needed]
        rows.append([each.label, str(n), cells[0], words[0], cells[1], words[1]])
    headings = ["loss", "pairs", "spread\npoints", "seeds", "spread\nat most", "seeds\nat most"]
    notes = [
        f"Seeds with which a two-sided paired t test at 5 % sees a difference of {points:g} points "
        f"to {comparison.baseline} in 80 % of sweeps. Spread: standard deviation of the "
        "differences in top-1 over these pairs; at most: the end of its one-sided 80 % interval."
    ]
    return Table(f"Seeds needed for {points:g} points of top-1", headings, rows, notes)


def notes(comparison: Comparison) -> list[str]:
    """What a reader must know to read the levels rightly; what needs attention first."""
    return [
        *warnings(comparison),
        *_reading(comparison),
        _control(comparison),
        provenance(comparison.runs),
    ]


def warnings(comparison: Comparison) -> list[str]:
    """What makes this comparison less than it seems: failures, holes, mixtures."""
    found = []
    if comparison.unfinished:
        found.append(
            "Without a result, and counted in n: "
            + _some([f"{run.name}: {run.reason} [{run.command}]" for run in comparison.unfinished])
        )
    if comparison.missing:
        cells = [f"{each.label} s{each.seed} [{each.command}]" for each in comparison.missing]
        found.append("Missing from the sweep: " + _some(cells))
    if comparison.confounded:
        found.append(
            "Not only the loss differs between losses: " + "; ".join(comparison.confounded)
        )
    if comparison.at_edge:
        found.append(
            "The best may lie beyond what was tried: " + "; ".join(comparison.at_edge) + "."
        )
    return found + [
        f"These runs are of different origin: {what}." for what in mixed(comparison.runs)
    ]


def _some(items: Sequence[str]) -> str:
    more = f"; and {len(items) - MOST} more" if len(items) > MOST else ""
    return "; ".join(items[:MOST]) + more


def _reading(comparison: Comparison) -> list[str]:
    rows = [row for row in comparison.rows if row.n]
    found = _chosen(comparison)
    if any(comparison.leaders.values()):
        found.append("* or bold: the best, and what these seeds do not tell from it (Holm).")
    if any(row.n > 1 for row in rows):
        found.append("±: 95 % interval, Student's t over n seeds. " + _other_images(rows))
    if any(row.n == 1 for row in rows):
        found.append("n = 1: no interval over seeds; xent-rescore RUN has that over test images.")
    found.append(f"scaled: {_maps(rows)}, T fitted on calib.")
    found.append(
        "ECE: ↑ over-confident, ↓ under-confident, ↕ both in turn, in most runs; ? no majority; "
        "unmarked: not to be told from a calibrated net with so many images."
    )
    found += _holes(rows)
    if comparison.flips:
        pairs = [f"{a} / {b}{' (shown)' * shown}" for a, b, shown in comparison.flips]
        found.append(f"By NLL first as trained / first after scaling: {_some(pairs)}.")
    return found


def _chosen(comparison: Comparison) -> list[str]:
    """With which hyper-parameters each loss stands here, where it had a choice."""
    by_choice: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.trials > 1:
            by_choice.setdefault(row.trial.hyper, []).append(row.label)
    if not by_choice:
        return []
    counts = sorted({row.trials for row in comparison.rows})
    each = "; ".join(f"{choice} for {', '.join(own)}" for choice, own in by_choice.items())
    return [
        f"Chosen by mean {comparison.options.choose_by} from {' or '.join(map(str, counts))} "
        f"trials of each loss: {each}."
    ]


def _holes(rows: Sequence[Row]) -> list[str]:
    found = []
    unscored = [row.label for row in rows if "test/nll" not in row.estimates]
    if unscored:
        found.append(f"-: the raw scores of {', '.join(unscored)} are no probabilities.")
    infinite = [row.label for row in rows if _is_infinite(row)]
    if infinite:
        names = ", ".join(infinite)
        found.append(f"inf: {names} gave the true class of some image probability 0.")
    bound = [f"{row.label} ({row.at_bound} of {row.n})" for row in rows if row.at_bound]
    if bound:
        found.append(
            f"Calib leaves the temperature open for {', '.join(bound)}, as where no answer is "
            "wrong: it is fitted as if one more were."
        )
    return found


def _other_images(rows: Sequence[Row]) -> str:
    """What other test images would change, where the runs know."""
    errors = [row.estimates[ERROR].mean for row in rows if ERROR in row.estimates]
    if not errors:
        return ""
    return f"All on the same images: others would move top-1 by about ±{196 * max(errors):.1f}."


def _maps(rows: Sequence[Row]) -> str:
    """What temperature scaling does, and with which losses something else."""
    maps: dict[str, list[str]] = {}
    for row in rows:
        maps.setdefault(row.scaled_map, []).append(row.label)
    most = max(maps, key=lambda each: len(maps[each]))
    others = [f"{each} for {', '.join(maps[each])}" for each in maps if each != most]
    return ", ".join([most, *others])


def _is_infinite(row: Row) -> bool:
    return "test/nll" in row.estimates and row.estimates["test/nll"].mean == float("inf")


def _control(comparison: Comparison) -> str:
    equal, pairs, noise = comparison.control
    if not pairs:
        return "A/A control: no pair of ce and sparse_ce among these runs."
    if equal == pairs:
        return (
            "A/A control: ce and sparse_ce, one loss in two label formats, ended with the same "
            f"weights, bit for bit, in {equal} of {pairs} pairs."
        )
    return (
        f"A/A control FAILED: ce and sparse_ce ended with the same weights in only {equal} of "
        f"{pairs} pairs, and up to {100 * noise:.2f} points of top-1 apart: this hardware or code "
        "is not deterministic, and differences between losses include that noise."
    )
