"""Notes beside a comparison: how to read it, and what limits it."""

from collections.abc import Sequence

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.row import Row
from xent_bench.comparison.yardsticks import YARDSTICKS, by_key
from xent_bench.report.design_words import ADJUSTED, design_notes
from xent_bench.report.search_notes import search_notes
from xent_bench.report.tuned import chosen_notes, some
from xent_bench.runs.annotated import annotation_lines
from xent_bench.runs.begun import is_paused
from xent_bench.runs.mixtures import mixed, origin_line
from xent_bench.runs.result import Run

ERROR = "test_se/top1"
NOT_RANKED = "Rows by name: not ranked."
NO_CHANGE_SHOWN = "No such change is shown: it may be chance."


def explanations(comparison: Comparison) -> list[str]:
    """All notes but the warnings: how to read the table, and facts about the runs."""
    return [*legend(comparison), *facts(comparison)]


def facts(comparison: Comparison) -> list[str]:
    """Notes on the chosen trials, undefined values, the A/A control, the runs' origin and tags."""
    rows, runs = [row for row in comparison.rows if row.n], comparison.runs
    return [
        *[NOT_RANKED] * bool(comparison.unranked),
        *chosen_notes(comparison),
        *search_notes(comparison),
        *_epochs(comparison.runs),
        *_noise(comparison.runs),
        *_seeds_and_images(rows),
        *_holes(rows),
        *_flips(comparison),
        *_control(comparison),
        *design_notes(comparison),
        origin_line(runs),
        *annotation_lines(runs),
    ]


def model_facts(comparison: Comparison) -> list[str]:
    """Notes beside a comparison of models, of which nothing is known but their predictions."""
    rows = comparison.rows
    lacking = [f"Metrics that not every net has, and so left out: {_absent(row)}." for row in rows]
    images = (
        _other_images(rows).replace("All runs have", "All nets have").replace("image", "example")
    )
    return [
        *[line for line, row in zip(lacking, rows, strict=True) if _absent(row)],
        *[images] * bool(images),
        *_holes(rows),
        *_flips(comparison),
    ]


def warnings(comparison: Comparison) -> list[str]:
    """Warnings that limit a comparison: failed runs, missing metrics, runs of different origin."""
    notes = []
    failed = [run for run in comparison.unfinished if not is_paused(run)]
    if failed:
        notes.append(
            "Runs without a result, counted in the n of their trial: "
            + some([f"{run.name}: {run.reason} [{run.command}]" for run in failed])
        )
    if comparison.empty_cells:
        cells = [f"{cell.label} s{cell.seed} [{cell.command}]" for cell in comparison.empty_cells]
        notes.append("Missing from the sweep: " + some(cells))
    holes = [hole for row in comparison.rows if (hole := _absent(row))]
    if holes:
        notes.append("Metrics that not every run has, and so left out: " + "; ".join(holes))
    if comparison.confounded:
        notes.append(
            "Not only the loss differs between losses: " + "; ".join(comparison.confounded)
        )
    notes += _doubts(comparison)
    if comparison.at_edge:
        notes.append(
            "The best value may lie outside the values tried: "
            + "; ".join(comparison.at_edge)
            + "."
        )
    return notes + [
        f"These runs are of different origin: {difference}."
        for difference in mixed(comparison.runs)
    ]


def _doubts(comparison: Comparison) -> list[str]:
    """Notes on trials left out and on batch statistics."""
    doubts = []
    left_out = [trial for row in comparison.rows for trial in row.choice.left_out]
    if left_out:
        doubts.append(
            "Trials left out of the choice, since they have fewer finished seeds than the loss's "
            "other trials, or no seed in common with them: " + some(left_out)
        )
    tags = {run.tags.get("batch_statistics", "") for run in comparison.runs} - {""}
    if tags:
        doubts.append(
            f"Batch normalisation computed its statistics from {' and '.join(sorted(tags))}, "
            "because of accumulate or a small batch_size."
        )
    return doubts


def _absent(row: Row) -> str:
    """Name the yardsticks that only some runs of a loss have; empty if there are none."""
    keys = [by.key for by in YARDSTICKS]
    runs = row.runs
    lacking = [k for k in keys if 0 < sum(k in run.metrics for run in runs) < len(runs)]
    return f"{row.label} {', '.join(lacking)}" if lacking else ""


def legend(comparison: Comparison) -> list[str]:
    """Notes on how to read the marks and columns of the table of means."""
    rows = [row for row in comparison.rows if row.n]
    noun, nouns = comparison.noun, comparison.nouns
    notes = []
    if not comparison.unranked and sum(row.n > 1 for row in rows) > 1:
        notes.append(
            "* or bold: the best mean; ≈: not shown to differ from it (paired over the seeds that "
            f"most {nouns} have, Holm over all pairs of {nouns}); unmarked beside a best one: "
            "shown to be worse, or without those seeds. This tests one column; verdicts are "
            f"corrected over more. A column without either mark: no {noun} is shown to differ from "
            "the best."
        )
    if any(row.n > 1 for row in rows):
        wider = ", wider for a loss that was tuned" * comparison.is_tuned
        adjusted = ADJUSTED * (comparison.field.boundary is not None)
        notes.append(f"±: 95 % interval, Student's t over n seeds{wider}{adjusted}.")
    if any("test_ts/nll" in row.estimates for row in rows):
        notes.append(f"scaled: {_maps(rows)}, T fitted on calib.{_order(comparison)}")
    notes.append(
        "ECE: ↑ over-confident, ↓ under-confident, ↕ over-confident at some confidences and "
        f"under-confident at others, each in most runs and corrected over {nouns} (Holm); ? runs "
        "are miscalibrated in different ways; unmarked: not shown to differ from a calibrated net "
        "on this many images. The mark of a scaled ECE judges the recipe, with T fitted anew; "
        "xent-rescore judges one net with its T."
    )
    return notes


def _seeds_and_images(rows: Sequence[Row]) -> list[str]:
    """Notes on how much other test images would change the scores, and on losses with one seed."""
    notes = []
    if any(row.n > 1 for row in rows) and (images := _other_images(rows)):
        notes.append(images)
    if any(row.n == 1 for row in rows):
        notes.append(
            "n = 1: no interval over seeds; xent-rescore RUN prints standard errors over test "
            "images."
        )
    return notes


def _flips(comparison: Comparison) -> list[str]:
    """Note on pairs of losses that change their order by temperature scaling."""
    if not comparison.flips:
        return []
    pairs = [f"{a} / {b}{'!' * shown}" for a, b, shown in comparison.flips]
    meaning = "!: both orders are significant, p < 0.05 corrected over all pairs."
    is_any_shown = any(flip.shown for flip in comparison.flips)
    return [
        "Pairs of which the mean NLL changes its order, lower as trained / lower after scaling: "
        f"{some(pairs)}. {meaning if is_any_shown else NO_CHANGE_SHOWN}"
    ]


def _order(comparison: Comparison) -> str:
    """Say by which metric the rows are ordered; empty where they are not ranked."""
    if comparison.unranked:
        return ""
    by = by_key(comparison.options.yardsticks)[comparison.options.primary]
    return f" Rows by {by.name}, the primary metric."


def _epochs(runs: Sequence[Run]) -> list[str]:
    """Note on the epochs that were evaluated, where val chose them or stopped the training."""
    chosen = [run for run in runs if "chosen_epoch" in run.tags]
    if not chosen:
        return []
    by = chosen[0].params.get("choose_by", "val")
    epochs = sorted({int(run.tags["chosen_epoch"]) for run in chosen})
    stopped = sum(run.tags.get("stopped_early") == "true" for run in chosen)
    kind = "best" if chosen[0].params.get("choose") == "best" else "last"
    span = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
    return [
        f"Evaluated: each run's {kind} epoch, {span}, by {by}; {stopped} of {len(chosen)} runs "
        f"stopped early (patience)."
        + f" Scores on val are too good, since {by} chose the epoch."
        * (kind == "best")
    ]


def _noise(runs: Sequence[Run]) -> list[str]:
    """Notes on noisy labels: how many, and what val and calib, noisy or clean, do to the scores."""
    noisy = [run for run in runs if "noise_rate" in run.tags]
    if not noisy:
        return []
    changed = f"Noise: {_shares(noisy, 'noise_rate')} of the labels of train were changed"
    if not any(float(run.tags["noise_rate_val"]) for run in noisy):
        return [
            f"{changed}. Val and calib are clean: the choice of epochs and hyper-parameters, and "
            "the temperature, saw clean labels, which whoever has noisy ones lacks."
        ]
    return [
        f"{changed}, and {_shares(noisy, 'noise_rate_val')} of those of val and calib; test is "
        "clean. So the temperature is fitted to noisy labels, and scaled probabilities describe "
        "these and not the clean ones; accuracy does not depend on the temperature."
    ]


def _shares(runs: Sequence[Run], tag: str) -> str:
    """The smallest and the largest share that a tag holds: '40.0 to 41.0 %'."""
    shares = sorted(100 * float(run.tags[tag]) for run in runs)
    ends = dict.fromkeys(f"{share:.1f}" for share in (shares[0], shares[-1]))
    return f"{' to '.join(ends)} %"


def _holes(rows: Sequence[Row]) -> list[str]:
    """Notes on values that are undefined, infinite or at a bound."""
    notes = []
    unscored = [row.label for row in rows if not any("test/nll" in run.metrics for run in row.runs)]
    if unscored:
        notes.append(f"-: the raw scores of {', '.join(unscored)} are no probabilities.")
    infinite = [row.label for row in rows if _is_infinite(row)]
    if infinite:
        names = ", ".join(infinite)
        notes.append(f"inf: {names} gave the true class of some image probability 0.")
    bound = [f"{row.label} ({row.at_bound} of {row.n})" for row in rows if row.at_bound]
    if bound:
        notes.append(
            f"Calib does not determine the temperature for {', '.join(bound)}: no answer on it is "
            "wrong, images are few, or answers are no better than chance. In the first two cases "
            "it is fitted as if one more answer were wrong; in the last, scaled probabilities of "
            "all classes are nearly equal."
        )
    return notes


def _other_images(rows: Sequence[Row]) -> str:
    """Say how much other test images would change top-1; empty if no run recorded that.

    Where no image differs from another, as if all answers are right, the standard error is 0 and
    tells nothing. What n images say then is how rare others are: 1 - 0.025^(1/n) at most, the end
    of the exact 95 % interval (Clopper and Pearson) of 0 among n.
    """
    errors = [row.estimates[ERROR].mean for row in rows if ERROR in row.estimates]
    if not errors:
        return ""
    same = "All runs have the same test images: other images would change top-1 by"
    if max(errors) > 0:
        return f"{same} about ±{196 * max(errors):.1f}."
    n = min(run.n_test for row in rows for run in row.runs)
    return (
        f"{same} {100 * (1 - 0.025 ** (1 / n)):.1f} at most (95 %, exact; on these {n:,} every "
        "answer counts alike)."
    )


def _maps(rows: Sequence[Row]) -> str:
    """The most common formula of temperature scaling, and the others with their losses."""
    maps: dict[str, list[str]] = {}
    for row in rows:
        maps.setdefault(row.scaled_map, []).append(row.label)
    if not maps:
        return "softmax(z / T)"
    most_common = max(maps, key=lambda formula: len(maps[formula]))
    others = [
        f"{formula} for {', '.join(losses)}"
        for formula, losses in maps.items()
        if formula != most_common
    ]
    return ", ".join([most_common, *others])


def _is_infinite(row: Row) -> bool:
    return "test/nll" in row.estimates and row.estimates["test/nll"].mean == float("inf")


def _control(comparison: Comparison) -> list[str]:
    """Note on whether ce and sparse_ce ended with the same weights; empty without such a pair."""
    equal, pairs, noise = comparison.control
    if not pairs:
        return []
    if equal == pairs:
        return [
            "A/A control: ce and sparse_ce, one loss in two label formats, ended with the same "
            f"weights, bit for bit, in {equal} of {pairs} pairs."
        ]
    return [
        f"A/A control FAILED: ce and sparse_ce ended with the same weights in only {equal} of "
        f"{pairs} pairs, and differ by up to {100 * noise:.2f} points of top-1: this hardware or "
        "code is not deterministic, and differences between losses include that noise."
    ]
