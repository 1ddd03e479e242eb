"""Tables that only the page has room for."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from xent_bench.comparison.compare import Comparison, Row
from xent_bench.comparison.evidence import Evidence
from xent_bench.comparison.yardsticks import Yardstick, by_key
from xent_bench.runs.mixtures import MUST_AGREE
from xent_bench.tables import Table

ALSO = ("mlflow", "data_sha256", "split_sha256")


def contrasts_table(comparison: Comparison, evidence: Evidence) -> Table:
    """One row for each loss and yardstick: all that is known of the difference."""
    headings = [
        *("loss", "metric", "difference", "± seeds", "± images", "pairs", "p (Holm)"),
        *("p of a tie", "effect size", "share better", "verdict"),
    ]
    rows = []
    for each in comparison.contrasts:
        found, by = each.difference, each.yardstick
        error = evidence.image_error(each.label, str(comparison.baseline), by.key)
        images = None if error is None else 1.96 * error
        rows.append(
            [
                each.label,
                f"{by.above.removesuffix(' %')} {by.below}",
                f"{by.scale * found.mean:+.{by.decimals + 1}f}",
                *(_scaled(half, by) for half in (found.half_width, images)),
                str(found.n),
                *(_number(value, 3) for value in (each.p, each.p_tie)),
                _number(found.effect_size, 2),
                f"{found.improvement:.2f}",
                each.verdict,
            ]
        )
    notes = [
        "Differences in points where a metric is a share, else in its own unit; paired by seed. "
        "± seeds: 95 % interval, Student's t. ± images: 95 %, were the same nets tested on other "
        "images, both on the same. p, and p of a difference as large as a tie may be (TOST): "
        f"corrected by Holm, for {by_key()[comparison.options.primary].name}, the primary metric, "
        "over the losses, for the secondary ones over losses and metrics; other metrics are shown "
        "and not judged. Effect size: Hedges' g of paired "
        "differences. Share better: of seeds, ties half. same: equal weights, bit for bit."
    ]
    return Table(f"Against {comparison.baseline}", headings, rows, notes, text=2)


def _scaled(value: float | None, by: Yardstick) -> str:
    return _number(None if value is None else by.scale * value, by.decimals + 1)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def ranks(comparison: Comparison) -> Table | None:
    """The order by NLL as trained and after scaling; None where losses are not ranked."""
    rows = [row for row in comparison.rows if row.n]
    if comparison.unranked or len(rows) < 2:
        return None
    orders = [_order(rows, key) for key in ("test/nll", "test_ts/nll")]
    cells = [
        [str(place), *pair] for place, pair in enumerate(zip_longest(*orders, fillvalue=""), 1)
    ]
    shown = " (both orders shown, p < 0.05 corrected over all pairs)"
    flips = [f"{a} and {b}{shown * is_shown}" for a, b, is_shown in comparison.flips]
    notes = [
        f"Pairs whose order flips, the better as trained first: {'; '.join(flips)}."
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
    """Seconds a run, and how fast it trained."""
    rows = []
    for row in comparison.rows:
        if row.seconds is not None:
            speed = row.examples_per_second
            shown = "-" if speed is None else f"{speed:,.0f}"
            rows.append([row.label, str(row.n), f"{row.seconds:.1f}", shown])
    notes = ["Of whole runs, evaluation included; examples: trained on, validation included."]
    return Table("Cost", ["loss", "n", "seconds a run", "examples / s"], rows, notes)


def configurations(comparison: Comparison) -> Table:
    """A table of what the losses were trained with where it is not the same for all runs."""
    rows = [row for row in comparison.rows if row.trial.begun]
    params = [[run.params for run in row.runs or row.trial.unfinished] for row in rows]
    keys = dict.fromkeys(key for group in params for each in group for key in each)
    differing = [
        key
        for key in keys
        if not key.startswith("loss.") and key not in ("loss", "seed")
        if len({str(each.get(key)) for group in params for each in group}) > 1
    ]
    cells = [
        [row.label, _own(group), *(_values(group, key) for key in differing)]
        for row, group in zip(rows, params, strict=True)
    ]
    text = "; ".join(comparison.confounded)
    notes = [
        f"NOT ONLY THE LOSS DIFFERS, and not by tuning all over the same values: {text}."
        if text
        else "Beside the loss, its own hyper-parameters and what was tuned, nothing differs."
    ]
    headings = ["loss", "its own", *differing]
    return Table("What differs between these rows", headings, cells, notes, text=len(headings))


def _own(params: Sequence[Mapping[str, Any]]) -> str:
    """The loss's hyper-parameters."""
    keys = dict.fromkeys(key for each in params for key in each if key.startswith("loss."))
    return ", ".join(f"{k.removeprefix('loss.')}={_values(params, k)}" for k in keys) or "-"


def _values(params: Sequence[Mapping[str, Any]], key: str) -> str:
    """The value that a loss's runs have; of several, each with its runs: '0.1 (2), 0.3 (1)'."""
    counts = Counter(str(each.get(key, "-")) for each in params)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count})" for value, count in counts.most_common())


def origins(comparison: Comparison) -> Table:
    """Versions, machines and data; several where runs differ."""
    rows = []
    for tag in (*MUST_AGREE, *ALSO):
        values = sorted({run.tags[tag] for run in comparison.runs if tag in run.tags})
        if values:
            rows.append([tag, ", ".join(value[:40] for value in values)])
    return Table("Origin", ["", ""], rows, [], text=2)
