"""What a reader must know to read a comparison rightly; what needs attention first."""

from collections.abc import Sequence

from xent_bench.comparison.compare import Comparison, Row
from xent_bench.comparison.trust import is_judged_by_older
from xent_bench.comparison.yardsticks import YARDSTICKS, by_key
from xent_bench.runs.mixtures import mixed, provenance

ERROR = "test_se/top1"
MOST = 8  # failures or missing runs in a note


def explanations(comparison: Comparison) -> list[str]:
    """How to read the table; the control; the origin."""
    return [*_reading(comparison), _control(comparison), provenance(comparison.runs)]


def warnings(comparison: Comparison) -> list[str]:
    """What makes this comparison less than it seems: failures, holes, mixtures."""
    found = []
    if comparison.unfinished:
        found.append(
            "Without a result, and counted in n where their trial is shown: "
            + _some([f"{run.name}: {run.reason} [{run.command}]" for run in comparison.unfinished])
        )
    if comparison.empty_cells:
        cells = [f"{each.label} s{each.seed} [{each.command}]" for each in comparison.empty_cells]
        found.append("Missing from the sweep: " + _some(cells))
    holes = [hole for row in comparison.rows if (hole := _absent(row))]
    if holes:
        found.append("Not every run has every metric, which is left out: " + "; ".join(holes))
    if comparison.confounded:
        found.append(
            "Not only the loss differs between losses: " + "; ".join(comparison.confounded)
        )
    found += _doubts(comparison)
    if comparison.at_edge:
        found.append(
            "The best may lie beyond what was tried: " + "; ".join(comparison.at_edge) + "."
        )
    return found + [
        f"These runs are of different origin: {what}." for what in mixed(comparison.runs)
    ]


def _doubts(comparison: Comparison) -> list[str]:
    """Trials left out, statistics of few images, verdicts of an older version."""
    doubts = []
    left_out = [trial for row in comparison.rows for trial in row.choice.left_out]
    if left_out:
        doubts.append(
            "Left out of the choice, with fewer finished seeds than the loss's other trials, or "
            "none in common: " + _some(left_out)
        )
    tags = {run.tags.get("batch_statistics", "") for run in comparison.runs} - {""}
    if tags:
        doubts.append(
            f"Batch normalisation computed its statistics from {' and '.join(sorted(tags))}, by "
            "accumulate or a small batch_size."
        )
    if any(is_judged_by_older(row.runs) for row in comparison.rows):
        doubts.append(
            "Verdicts on calibration are those of an older version for some runs, and so neither "
            "of the recipe nor corrected over losses: xent-rescore FOLDER judges anew."
        )
    return doubts


def _absent(row: Row) -> str:
    """Yardsticks that some runs of a loss have and some have not."""
    keys = [each.key for each in YARDSTICKS]
    runs = row.runs
    lacking = [k for k in keys if 0 < sum(k in run.metrics for run in runs) < len(runs)]
    return f"{row.label} {', '.join(lacking)}" if lacking else ""


def _some(items: Sequence[str]) -> str:
    more = f"; and {len(items) - MOST} more" if len(items) > MOST else ""
    return "; ".join(items[:MOST]) + more


def _reading(comparison: Comparison) -> list[str]:
    rows = [row for row in comparison.rows if row.n]
    found = _chosen(comparison)
    if not comparison.unranked and sum(row.n > 1 for row in rows) > 1:
        found.append(
            "* or bold: the best mean; ≈: not told from it by the seeds that most losses have "
            "(paired, Holm over all pairs of losses). A column without either: none is told from "
            "the best."
        )
    if any(row.n > 1 for row in rows):
        wider = ", wider for a loss that was tuned" * comparison.is_tuned
        found.append(
            f"±: 95 % interval, Student's t over n seeds{wider}. {_other_images(rows)}".rstrip()
        )
    if any(row.n == 1 for row in rows):
        found.append("n = 1: no interval over seeds; xent-rescore RUN has that over test images.")
    found.append(f"scaled: {_maps(rows)}, T fitted on calib. {_order(comparison)}")
    found.append(
        "ECE: ↑ over-confident, ↓ under-confident, ↕ both in turn, in most runs, corrected over "
        "losses (Holm); ? in different ways; unmarked: not to be told from a calibrated net with "
        "so many images. The mark of a scaled ECE is of the recipe, with T fitted anew; of one net "
        "with its T xent-rescore speaks."
    )
    found += _holes(rows)
    if comparison.flips:
        pairs = [f"{a} / {b}{'!' * shown}" for a, b, shown in comparison.flips]
        found.append(
            f"By NLL first as trained / first after scaling: {_some(pairs)}."
            + " !: both orders are shown, p < 0.05 corrected over all pairs."
            * any(flip.shown for flip in comparison.flips)
        )
    return found


def _order(comparison: Comparison) -> str:
    if comparison.unranked:
        return "Rows by name: not ranked."
    by = by_key(comparison.options.yardsticks)[comparison.options.primary]
    return f"Rows by {by.name}, the primary metric."


def _chosen(comparison: Comparison) -> list[str]:
    """With which hyper-parameters each loss stands here, where it had a choice."""
    by_choice: dict[str, list[str]] = {}
    for row in comparison.rows:
        if row.trials > 1:
            by_choice.setdefault(row.trial.hyper, []).append(row.label)
    if not by_choice:
        return []
    counts = sorted({row.trials for row in comparison.rows})
    choices = "; ".join(f"{choice} for {', '.join(labels)}" for choice, labels in by_choice.items())
    notes = [
        f"Chosen by mean {comparison.options.choose_by} over all seeds, from "
        f"{' or '.join(map(str, counts))} trials of each loss: {choices}. {_reported(comparison)}"
    ]
    ties = [row.choice.tie for row in comparison.rows if row.choice.tie]
    return notes + [f"Ties: {_some(ties)}."] * bool(ties)


def _reported(comparison: Comparison) -> str:
    """Say of which runs the scores are, where there was a choice."""
    if all(row.choice.flatters for row in comparison.rows if row.trials > 1):
        return (
            "With one seed, choice and score are of the same run: the scores of a tuned loss are "
            "too good, by how much cannot be told."
        )
    return (
        "For each seed the other seeds choose the trial whose run is reported. So no run is "
        "chosen because it was lucky itself."
    )


def _holes(rows: Sequence[Row]) -> list[str]:
    found = []
    unscored = [row.label for row in rows if not any("test/nll" in run.metrics for run in row.runs)]
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
            "wrong, or images are few: it is fitted as if one more answer were wrong."
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
    if not maps:
        return "softmax(z / T)"
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
