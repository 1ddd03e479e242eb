"""Tables that only the HTML page shows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from xent_bench.comparison.compare import Comparison
from xent_bench.comparison.evidence import Evidence
from xent_bench.comparison.row import Row
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.report.design_words import decided_at
from xent_bench.report.notes import NO_CHANGE_SHOWN
from xent_bench.runs.data_account import account_rows
from xent_bench.runs.mixtures import MUST_AGREE
from xent_bench.tables import Table

FURTHER_TAGS = ("mlflow", "data_sha256", "split_sha256")


def contrasts_table(comparison: Comparison, evidence: Evidence) -> Table:
    """Table of the differences to the baseline in full, one row for each loss and metric."""
    headings = [
        *(
            comparison.noun,
            "metric",
            "verdict",
            "difference",
            "± seeds",
            "± images",
            "pairs",
            "p (Holm)",
        ),
        *("p of a tie", "effect size", "share better"),
    ]
    rows = []
    for contrast in comparison.contrasts:
        delta, by = contrast.difference, contrast.yardstick
        over_images = evidence.image_half_width(contrast.label, str(comparison.baseline), by.key)
        rows.append(
            [
                contrast.label,
                f"{by.above.removesuffix(' %')} {by.below}",
                f"{contrast.verdict}{decided_at(contrast)}",
                f"{by.scale * delta.mean:+.{by.decimals + 1}f}",
                *(_scaled(half, by) for half in (delta.half_width, over_images)),
                str(delta.n),
                *(_number(value, 3) for value in (contrast.p, contrast.p_tie)),
                _number(delta.effect_size, 2),
                f"{delta.improvement:.2f}",
            ]
        )
    primary = by_key(comparison.options.yardsticks)[comparison.options.primary].name
    notes = [
        "Differences are paired by seed, in points if a metric is a share, else in its own unit. "
        "± seeds: 95 % interval over seeds, Student's t. ± images: 95 % interval over test images, "
        "for the same nets. p: test of no difference; p of a tie: test of a difference larger than "
        f"a tie (TOST). Both are corrected by Holm: for {primary}, the primary metric, over the "
        f"{comparison.nouns}; for the secondary metrics over {comparison.nouns} and metrics. "
        "Other metrics are shown and not judged. Effect size: Hedges' g of paired differences. "
        f"Share better: share of seeds with which the {comparison.noun} is better; ties count "
        "half. same: equal weights, bit for bit."
    ]
    if comparison.sequential is not None:
        notes.append(
            "All p values and intervals over seeds are adjusted for the looks of the design: they "
            "hold whenever it stops. Brackets: the look at which a verdict fell."
        )
    return Table(f"Against {comparison.baseline}", headings, rows, notes, text=3)


def _scaled(value: float | None, by: Yardstick) -> str:
    return _number(None if value is None else by.scale * value, by.decimals + 1)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def ranks(comparison: Comparison) -> Table | None:
    """Table of the losses in the order of NLL, as trained and after scaling; None if not ranked."""
    rows = [row for row in comparison.rows if row.n]
    if comparison.unranked or len(rows) < 2:
        return None
    orders = [_order(rows, key) for key in ("test/nll", "test_ts/nll")]
    cells = [
        [str(place), *pair] for place, pair in enumerate(zip_longest(*orders, fillvalue=""), 1)
    ]
    shown = " (both orders are significant, p < 0.05 corrected over all pairs)"
    flips = [f"{a} and {b}{shown * is_shown}" for a, b, is_shown in comparison.flips]
    no_change = "" if any(flip.shown for flip in comparison.flips) else f" {NO_CHANGE_SHOWN}"
    notes = [
        f"Pairs that change their order, the {comparison.noun} with the lower mean as trained "
        f"first: {'; '.join(flips)}.{no_change}"
        if flips
        else "No pair changes its order."
    ]
    headings = ["rank", "as trained", "after scaling"]
    return Table("By NLL, before and after temperature scaling", headings, cells, notes, text=3)


def _order(rows: list[Row], key: str) -> list[str]:
    scored = [row for row in rows if key in row.estimates]
    scored.sort(key=lambda row: row.estimates[key].mean)
    return [f"{row.label} {row.estimates[key].mean:.3f}" for row in scored]


def costs(comparison: Comparison) -> Table:
    """Table of the seconds that a run takes and of the images a second in training."""
    rows = []
    for row in comparison.rows:
        if row.seconds is not None:
            speed = row.examples_per_second
            shown = "-" if speed is None else f"{speed:,.0f}"
            rows.append([row.label, str(row.n), f"{row.seconds:.1f}", shown])
    notes = [
        "Seconds of a whole run, evaluation included. Examples / s: images trained on, over the "
        "time of training and validation."
    ]
    return Table("Cost", ["loss", "n", "seconds a run", "examples / s"], rows, notes)


def configurations(comparison: Comparison) -> Table:
    """Table of the parameters whose value is not the same for all runs, one row for each loss."""
    rows = [row for row in comparison.rows if row.trial.begun]
    params = [[run.params for run in row.runs or row.trial.unfinished] for row in rows]
    keys = dict.fromkeys(key for group in params for of_run in group for key in of_run)
    differing = [
        key
        for key in keys
        if not key.startswith("loss.") and key not in ("loss", "seed")
        if len({str(of_run.get(key)) for group in params for of_run in group}) > 1
    ]
    cells = [
        [row.label, _loss_params(group), *(_values(group, key) for key in differing)]
        for row, group in zip(rows, params, strict=True)
    ]
    text = "; ".join(comparison.confounded)
    notes = [
        f"NOT ONLY THE LOSS DIFFERS, and losses were not tuned over the same values: {text}."
        if text
        else "Only the loss, its own hyper-parameters and what was tuned differ."
    ]
    headings = ["loss", "its own", *differing]
    return Table("What differs between these rows", headings, cells, notes, text=len(headings))


def _loss_params(params: Sequence[Mapping[str, Any]]) -> str:
    """The loss's own hyper-parameters as 'gamma=2.0'; '-' if it has none."""
    keys = dict.fromkeys(key for of_run in params for key in of_run if key.startswith("loss."))
    return ", ".join(f"{k.removeprefix('loss.')}={_values(params, k)}" for k in keys) or "-"


def _values(params: Sequence[Mapping[str, Any]], key: str) -> str:
    """Value of a parameter in a loss's runs; with counts if they differ: '0.1 (2), 0.3 (1)'."""
    counts = Counter(str(of_run.get(key, "-")) for of_run in params)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count})" for value, count in counts.most_common())


def origins(comparison: Comparison) -> Table:
    """Table of versions, machines and data of the runs; several values if runs differ."""
    rows = []
    for tag in (*MUST_AGREE, *FURTHER_TAGS):
        values = sorted({run.tags[tag] for run in comparison.runs if tag in run.tags})
        if values:
            rows.append([tag, ", ".join(value[:40] for value in values)])
    return Table("Origin", ["", ""], rows, [], text=2)


def images(comparison: Comparison, evidence: Evidence) -> Table | None:
    """Table of the images of one run: counts, splits, and what is odd; None if not recorded.

    Runs with another seed have as many images in each split, and others of them.
    """
    if evidence.account is None:
        return None
    data = str(comparison.runs[0].params["data"])
    return Table("Images", ["", ""], account_rows(data, evidence.account), [], text=2)
